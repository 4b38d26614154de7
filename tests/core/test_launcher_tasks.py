"""``--launcher``: processes of SLURM and MPI become one run; what cannot be joined is refused in one line."""

from __future__ import annotations

import os
import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev.cli import main
from portbev.errors import PortbevError
from portbev.launcher import Launch, agent, launch
from portbev.launcher.adopt import adopt, without_local_rank
from portbev.launcher.hosts import hosts, per_node

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[007-008]",
    "SLURM_JOB_NODELIST": "gpu[007-010]",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "prterun-a-1@1",
}
INTEL = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
AGENT = {**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"}
OWN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of this test alone, without a launcher."""
    prefixes = ("SLURM_", "OMPI_", "PMI", "MV2_", "MPI_", "PALS_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(prefixes) and name not in OWN}
    monkeypatch.setattr(os, "environ", clean)
    return clean


def adopted(environment: dict[str, str], launcher: str, variables: dict[str, str | None]) -> tuple[Launch, str, str]:
    environment.update({name: value for name, value in variables.items() if value is not None})
    adopt(launcher)
    return launch(), environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")


def test_tasks_of_slurm_meet_at_the_first_machine_of_their_step(environment: dict[str, str]) -> None:
    found, address, port = adopted(environment, "slurm", {**SLURM})
    assert (found, address) == (Launch(5, 8, 1), "gpu007")
    assert 15000 <= int(port) < 30000 and environment["LOCAL_WORLD_SIZE"] == "4"


def test_all_tasks_of_a_job_choose_one_port_and_those_of_another_job_another(environment: dict[str, str]) -> None:
    ports = []
    for changed in ({}, {"SLURM_PROCID": "2", "SLURM_LOCALID": "2"}, {"SLURM_JOB_ID": "4712"}, {"SLURM_STEP_ID": "1"}):
        for name in OWN:
            environment.pop(name, None)
        ports.append(adopted(environment, "slurm", {**SLURM, **changed})[2])
    assert ports[0] == ports[1] and len(set(ports)) == 3


@pytest.mark.parametrize(
    ("launcher", "variables", "found", "address"),
    [
        ("slurm", {**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}, Launch(5, 8, 1), "10.0.0.1"),
        ("slurm", {**SLURM, "SLURM_STEP_NODELIST": "n1"}, Launch(5, 8, 1), "127.0.0.1"),
        ("slurm", {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0"}, Launch(0, 1, 0), "127.0.0.1"),
        ("mpi", OPEN_MPI, Launch(3, 4, 3), "127.0.0.1"),
        ("mpi", {**INTEL, "MASTER_ADDR": "n1"}, Launch(2, 4, 0), "n1"),
        ("mpi", {**INTEL, "SLURM_JOB_NODELIST": "a[3-4],b"}, Launch(2, 4, 0), "a3"),
        ("pytorch", AGENT, Launch(1, 2, 1), "a"),
        ("auto", AGENT, Launch(1, 2, 1), "a"),
        ("auto", {}, Launch(0, 1, 0), ""),
        # an interactive shell of an allocation, the script of a job, variables exported by hand: nothing of it counts
        ("none", {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}, Launch(0, 1, 0), ""),
        ("none", SLURM, Launch(0, 1, 0), ""),
        ("none", {"RANK": "x", "WORLD_SIZE": "eight"}, Launch(0, 1, 0), ""),
    ],
)
def test_each_launcher_reads_its_own_variables(
    environment: dict[str, str], launcher: str, variables: dict[str, str], found: Launch, address: str
) -> None:
    assert adopted(environment, launcher, {**variables})[:2] == (found, address)


@pytest.mark.parametrize(
    ("launcher", "variables", "message"),
    [
        ("slurm", {}, "--launcher slurm, and SLURM_PROCID is not set"),
        ("slurm", {**SLURM, "SLURM_LOCALID": None}, "SLURM_LOCALID is not set"),
        ("slurm", {**SLURM, "SLURM_STEP_NODELIST": None, "SLURM_JOB_NODELIST": None}, "SLURM_JOB_NODELIST is not set"),
        ("slurm", {**SLURM, "SLURM_PROCID": "8"}, "SLURM_PROCID is 8 of 8 processes"),
        ("slurm", {**SLURM, "SLURM_PROCID": "-1"}, "SLURM_PROCID is '-1', not a number"),
        ("slurm", {**SLURM, "SLURM_STEP_NODELIST": "gpu[7-"}, "cannot read 'gpu[7-' as a list of machines"),
        ("slurm", {**SLURM, "RANK": "1"}, "RANK is 1, and by --launcher slurm it is 5"),
        ("slurm", {**SLURM, "WORLD_SIZE": "4"}, "WORLD_SIZE is 4, and by --launcher slurm it is 8"),
        ("slurm", {**SLURM, **AGENT}, "torchrun started this process (RANK 1), and --launcher slurm was given"),
        ("slurm", {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}, "Write srun before the command"),
        ("mpi", {}, "--launcher mpi, and OMPI_COMM_WORLD_RANK or MV2_COMM_WORLD_RANK or PMI_RANK is not set"),
        ("mpi", {**INTEL}, "on several machines, and MASTER_ADDR is not set"),
        ("mpi", {"PMI_RANK": "2", "PMI_SIZE": "4"}, "Set LOCAL_RANK in each process"),
        ("mpi", {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_RANK is 3 of 2 processes"),
        ("pytorch", {}, "RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not set"),
        ("pytorch", SLURM, "torchrun --nproc-per-node N -m portbev"),
        ("pytorch", {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}, "MASTER_PORT is not set"),
        ("none", AGENT, "torchrun started 2 processes"),
        ("torchrun", {}, "unknown launcher 'torchrun'"),
        ("Slurm", {}, "Did you mean 'slurm'?"),
    ],
)
def test_missing_and_contradictory_variables_are_one_line_with_the_cure(
    environment: dict[str, str], launcher: str, variables: dict[str, str | None], message: str
) -> None:
    with pytest.raises(PortbevError) as caught:
        adopted(environment, launcher, {**variables})
    said = str(caught.value)
    assert message in said
    assert "\n" not in said and caught.value.cure


def test_the_command_says_it_and_ends_with_status_2(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["train", "bevdepth/tiny_test"], ["eval", "runs/none"]):
        assert main([*command, "--launcher", "mpi"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith("portbev: ")
    assert environment.get("WORLD_SIZE") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n1", ["n1"]),
        ("node[001-003,007],gpu3", ["node001", "node002", "node003", "node007", "gpu3"]),
        ("rack[1-2]n[09-10]-ib.local", [f"rack{a}n{b}-ib.local" for a in (1, 2) for b in ("09", "10")]),
        ("a[1,3],b", ["a1", "a3", "b"]),
    ],
)
def test_a_node_list_is_read_as_slurm_writes_it(text: str, expected: list[str]) -> None:
    assert list(hosts(text)) == expected


def test_the_first_of_very_many_machines_takes_no_time() -> None:
    assert list(islice(hosts("n[0-99999999999]"), 2)) == ["n0", "n1"]


@pytest.mark.parametrize("text", ["", "a[", "a]", "a[3-1]", "a[x]", "a b", "[]", "a,,b", "a;reboot"])
def test_what_is_no_node_list_is_refused(text: str) -> None:
    with pytest.raises(PortbevError, match=re.escape("as a list of machines")):
        list(hosts(text))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 16), min_size=1, max_size=12))
def test_counts_per_node_are_read_in_their_short_form(counts: list[int]) -> None:
    runs: list[list[int]] = []
    for count in counts:
        if runs and runs[-1][0] == count:
            runs[-1][1] += 1
        else:
            runs.append([count, 1])
    text = ",".join(f"{count}(x{times})" if times > 1 else str(count) for count, times in runs)
    assert list(per_node(text)) == counts


def test_the_option_of_torchs_older_launcher_becomes_a_variable(environment: dict[str, str]) -> None:
    assert without_local_rank(["--local-rank=3", "train", "c", "--local_rank=3"]) == ["train", "c"]
    assert environment["LOCAL_RANK"] == "3"


def test_an_agent_is_known_by_more_than_the_name_of_the_launch(environment: dict[str, str]) -> None:
    assert agent() is None
    environment["TORCHELASTIC_RUN_ID"] = "none"
    assert str(os.getppid()) in str(agent()).split()
