// The hash, the moments and the projections of a large tensor on the host, in one pass over its memory.
//
// What is computed is defined in content.py and figures.py; the numbers here are those of signs.py. The tensor is taken
// in units of half a megabyte: a thread hashes a unit and, while it lies in the core's cache, makes its figures.
// What a unit gives, and the order in which units are put together, do not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

// One machine may compile this, and another one with the same home folder run it: instructions are chosen when it runs.
#if defined(__x86_64__) && defined(__linux__) && !defined(PORTBEV_ONE_TARGET)
#if defined(__clang__) || __GNUC__ < 12
#define FOR_EACH_TARGET __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_TARGET __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#else
#define FOR_EACH_TARGET
#endif
#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace {

constexpr int PROJECTIONS = 16, WIDTH = 37, COLUMNS = PROJECTIONS * WIDTH, ROWS = 888, AHEAD = 5;
constexpr int64_t WORDS = int64_t{ROWS} * COLUMNS / 2, UNITS_IN_A_BLOCK = 4, UNIT = 8 * WORDS / UNITS_IN_A_BLOCK;
constexpr uint64_t COLUMN = uint64_t{1} << 60, ROW = uint64_t{2} << 60, PLACE = uint64_t{3} << 60;

ALWAYS_INLINE uint64_t mix64(uint64_t counter) {
  uint64_t z = counter * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

ALWAYS_INLINE double sign(uint64_t bit) { return bit & 1 ? -1.0 : 1.0; }

struct Multipliers {
  std::vector<uint64_t> at = std::vector<uint64_t>(WORDS);
  Multipliers() {
    for (int64_t i = 0; i < WORDS; ++i) at[i] = mix64(PLACE + i + 1) | 1;
  }
};

// ---- the hash

ALWAYS_INLINE uint64_t word_at(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

ALWAYS_INLINE uint64_t product(const uint8_t* bytes, const uint64_t* multipliers, int64_t i) {
  return (word_at(bytes + 8 * i) ^ word_at(bytes + 8 * i + AHEAD)) * multipliers[i];
}

// From four places at once: a core fetches several streams from memory faster than one.
FOR_EACH_TARGET uint64_t sum_of_products(const uint8_t* bytes, const uint64_t* multipliers, int64_t words) {
  const int64_t quarter = words / 4;
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (int64_t i = 0; i < quarter; ++i) {
    a += product(bytes, multipliers, i);
    b += product(bytes, multipliers, i + quarter);
    c += product(bytes, multipliers, i + 2 * quarter);
    d += product(bytes, multipliers, i + 3 * quarter);
  }
  for (int64_t i = 4 * quarter; i < words; ++i) a += product(bytes, multipliers, i);
  return a + b + c + d;
}

// Of the unit that begins at byte `begin`. What lies beyond the end of the tensor is zero.
uint64_t hash_unit(const uint8_t* bytes, int64_t count, int64_t begin, const Multipliers& multipliers) {
  const int64_t words = (std::min(UNIT, count - begin) + 7) / 8;
  const int64_t inside = std::min(words, std::max<int64_t>(0, (count - begin - AHEAD) / 8));
  const uint64_t* mine = &multipliers.at[begin / 8 % WORDS];
  uint64_t sum = sum_of_products(bytes + begin, mine, inside);
  for (int64_t i = inside; i < words; ++i) {
    uint8_t rest[8 + AHEAD] = {};
    const int64_t at = begin + 8 * i;
    std::memcpy(rest, bytes + at, std::min<int64_t>(sizeof rest, count - at));
    sum += (word_at(rest) ^ word_at(rest + AHEAD)) * mine[i];
  }
  return sum;
}

// ---- the figures

struct Bfloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

ALWAYS_INLINE float of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

ALWAYS_INLINE float number(float value) { return value; }
ALWAYS_INLINE double number(double value) { return value; }
ALWAYS_INLINE float number(Bfloat16 value) { return of_bits(uint32_t{value.bits} << 16); }
ALWAYS_INLINE float number(Half value) {
  const uint32_t rest = (value.bits & 0x7FFFu) << 13;
  const float magnitude = of_bits(rest) * 0x1p112f;  // the exponents' biases differ by 112
  const float finite = value.bits & 0x8000u ? -magnitude : magnitude;
  return rest >= 31u << 23 ? of_bits((value.bits & 0x8000u) << 16 | 255u << 23 | rest) : finite;
}

template <typename T> using Number = decltype(number(T{}));
template <typename T> constexpr Number<T> ENDLESS = std::numeric_limits<Number<T>>::infinity();

struct Figures {  // in the order of figures.py
  double nan = 0, inf = 0, sum = 0, squares = 0;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  double projections[PROJECTIONS] = {};
};

// Sums of each column: a compiler need not change the order of any sum to compute several at once.
template <typename T> struct Columns {
  double projected[COLUMNS] = {}, sum[COLUMNS] = {}, squares[COLUMNS] = {}, sign[COLUMNS];
  Number<T> low[COLUMNS], high[COLUMNS];
  int64_t nan = 0, inf = 0;
};

// CAREFUL: what is not finite is counted, and is zero in the sums.
template <bool CAREFUL, typename T> ALWAYS_INLINE void add_row(const T* row, int64_t count, Columns<T>& columns) {
  for (int64_t i = 0; i < count; ++i) {
    const Number<T> x = number(row[i]);
    Number<T> value = x, least = x, greatest = x;
    if constexpr (CAREFUL) {
      const bool finite = std::abs(x) < ENDLESS<T>;
      columns.nan += x != x;
      columns.inf += std::abs(x) == ENDLESS<T>;
      value = finite ? x : 0, least = finite ? x : ENDLESS<T>, greatest = finite ? x : -ENDLESS<T>;
    }
    const double wide = value;
    columns.projected[i] += wide * columns.sign[i];
    columns.sum[i] += wide;
    columns.squares[i] += wide * wide;
    columns.low[i] = least < columns.low[i] ? least : columns.low[i];
    columns.high[i] = greatest > columns.high[i] ? greatest : columns.high[i];
  }
}

template <bool CAREFUL, typename T> ALWAYS_INLINE Figures read_elements(const T* values, int64_t begin, int64_t end) {
  Columns<T> columns;
  std::fill_n(columns.low, COLUMNS, ENDLESS<T>);
  std::fill_n(columns.high, COLUMNS, -ENDLESS<T>);
  for (int64_t first = begin; first < end; first += COLUMNS) {
    const uint64_t word = mix64(ROW + first / COLUMNS + 1);
    for (int p = 0; p < PROJECTIONS; ++p) std::fill_n(columns.sign + p * WIDTH, WIDTH, sign(word >> p));
    if (end - first >= COLUMNS)
      add_row<CAREFUL>(values + first, COLUMNS, columns);
    else
      add_row<CAREFUL>(values + first, end - first, columns);
  }
  Figures told;
  told.nan = columns.nan, told.inf = columns.inf;
  for (int i = 0; i < COLUMNS; ++i) {
    told.sum += columns.sum[i];
    told.squares += columns.squares[i];
    told.low = std::min<double>(told.low, columns.low[i]);
    told.high = std::max<double>(told.high, columns.high[i]);
    told.projections[i / WIDTH] += columns.projected[i] * sign(mix64(COLUMN + i + 1));
  }
  return told;
}

// Of the unit that begins at byte `begin`.
template <typename T> ALWAYS_INLINE Figures read_unit(const uint8_t* bytes, int64_t count, int64_t begin) {
  const T* values = reinterpret_cast<const T*>(bytes);
  const int64_t first = begin / sizeof(T), end = std::min(count, begin + UNIT) / sizeof(T);
  const Figures told = read_elements<false>(values, first, end);
  return std::isfinite(told.squares) ? told : read_elements<true>(values, first, end);
}

using Reader = Figures (*)(const uint8_t*, int64_t, int64_t);

#define READER(NAME, TYPE)                                                                     \
  FOR_EACH_TARGET Figures NAME(const uint8_t* bytes, int64_t count, int64_t begin) { \
    return read_unit<TYPE>(bytes, count, begin);                                     \
  }
READER(read_float32, float)
READER(read_float64, double)
READER(read_bfloat16, Bfloat16)
READER(read_float16, Half)

Figures together(const std::vector<Figures>& units) {
  Figures all;
  for (const Figures& one : units) {
    all.nan += one.nan, all.inf += one.inf, all.sum += one.sum, all.squares += one.squares;
    all.low = std::min(all.low, one.low), all.high = std::max(all.high, one.high);
    for (int p = 0; p < PROJECTIONS; ++p) all.projections[p] += one.projections[p];
  }
  if (all.low > all.high) all.low = all.high = 0;  // nothing is finite
  return all;
}

}  // namespace

// `bytes`: `count` of them, more than none. `dtype`: 0 for the hash alone; a number of one_pass.py.
// `sums`: one for each block of WORDS words, begun or full. `figures`: 6 + PROJECTIONS.
extern "C" void portbev_one_pass(
    const uint8_t* bytes, int64_t count, int dtype, int threads, uint64_t* sums, double* figures) {
  static const Multipliers multipliers;
  const Reader readers[] = {nullptr, read_float32, read_float64, read_bfloat16, read_float16};
  const Reader read = readers[dtype];
  const int64_t units = (count + UNIT - 1) / UNIT, blocks = (units + UNITS_IN_A_BLOCK - 1) / UNITS_IN_A_BLOCK;
  std::vector<uint64_t> hashes(units);
  std::vector<Figures> told(read ? units : 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t turn = 0; turn < blocks * UNITS_IN_A_BLOCK; ++turn) {
    // All blocks' first units, then all second ones: their multipliers are the same, and stay in a core's cache.
    const int64_t unit = turn % blocks * UNITS_IN_A_BLOCK + turn / blocks;
    if (unit >= units) continue;
    hashes[unit] = hash_unit(bytes, count, unit * UNIT, multipliers);
    if (read) told[unit] = read(bytes, count, unit * UNIT);
  }
  for (int64_t unit = 0; unit < units; ++unit) {
    uint64_t& sum = sums[unit / UNITS_IN_A_BLOCK];
    sum = hashes[unit] + (unit % UNITS_IN_A_BLOCK ? sum : 0);
  }
  if (read) {
    const Figures all = together(told);
    std::memcpy(figures, &all, sizeof all);
  }
}
