"""mmcv's names after ``install``: with none, with one without operators, with one that lacks the device."""

from __future__ import annotations

import importlib
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from portbev.compat.mmcv import deform_conv, install, modulated_deform_conv, multi_scale_deform_attn, uninstall
from portbev.compat.mmcv.names import EXPORTED, OPERATORS
from portbev.errors import PortbevError
from portbev.kernels import KERNELS

WORLDS = ("none", "missing", "raises", "works")
Plant = Callable[[str], Path]


def imported(code: str) -> dict[str, Any]:
    """Names that ``code`` leaves."""
    found: dict[str, Any] = {}
    exec(code, found)
    return found


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, plant: Plant) -> str:
    if request.param != "none":
        plant(request.param)
    return str(request.param)


@pytest.mark.filterwarnings("ignore:portbev.compat.mmcv.*libcudart:RuntimeWarning")
@pytest.mark.parametrize("before", [False, True], ids=["install first", "mmcv first"])
def test_every_form_of_import_gives_portbevs(world: str, before: bool) -> None:
    if before and world != "none":
        imported("import mmcv.cnn\ntry:\n    import mmcv.ops\nexcept ImportError:\n    pass")
    install()
    found = imported(
        "import mmcv.ops.deform_conv as dc\n"
        "from mmcv.ops import DeformConv2d, DeformConv2dPack, deform_conv2d\n"
        "from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2dPack\n"
        "from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction as function\n"
        "import mmcv.cnn, mmcv.ops\n"
        "v1 = mmcv.cnn.build_conv_layer(dict(type='DCN'), 2, 4, 3, padding=1)\n"
        "v2 = mmcv.cnn.build_conv_layer(dict(type='DCNv2', deform_groups=2), 2, 4, kernel_size=3, padding=1)\n"
    )
    assert found["DeformConv2dPack"] is found["dc"].DeformConv2dPack is deform_conv.DeformConv2dPack
    assert found["mmcv"].ops.deform_conv.deform_conv2d is found["deform_conv2d"] is deform_conv.deform_conv2d
    assert found["ModulatedDeformConv2dPack"] is modulated_deform_conv.ModulatedDeformConv2dPack
    assert found["function"] is multi_scale_deform_attn.MultiScaleDeformableAttnFunction
    assert type(found["v1"]) is deform_conv.DeformConv2dPack
    assert type(found["v2"]) is modulated_deform_conv.ModulatedDeformConv2dPack
    for layer in (found["v1"], found["v2"]):
        assert layer(torch.rand(1, 2, 5, 5)).shape == (1, 4, 5, 5)
    assert sum(KERNELS.ledger.snapshot()["deform_conv2d"]["forward"].values()) == 2
    assert found["mmcv"].__version__ == ("2.1.0" if world == "none" else "2.0.1")


@pytest.mark.filterwarnings("ignore:portbev.compat.mmcv.*libcudart:RuntimeWarning")
def test_what_an_installed_mmcv_has_beside_stays_its_own(world: str) -> None:
    said = str(install())
    importlib.import_module("mmcv")
    if world == "works":
        found = imported("from mmcv.ops import nms, point_sample\nimport mmcv.ops.nms")
        assert found["nms"](3) == found["point_sample"](3) == 3
        return
    with pytest.raises(ImportError, match=r"mmcv\.ops\.nms is not covered .*DeformConv2d.*--uncovered call"):
        imported("from mmcv.ops import nms")
    with pytest.raises(ImportError, match=r"mmcv\.ops\.nms is not covered"):
        imported("import mmcv.ops.nms as n")
    with pytest.raises(ImportError, match=r"mmcv\.ops\.Points is not covered"):
        imported("from mmcv.ops import Points")
    assert not hasattr(sys.modules["mmcv.ops"], "nms")
    if world == "none":
        assert "no mmcv is used" in said
        with pytest.raises(ModuleNotFoundError, match=r"mmcv\.runner is not covered .*pip install mmcv-lite"):
            imported("from mmcv.runner import BaseModule")
        with pytest.raises(ImportError, match=r"mmcv\.imread is not covered"):
            imported("from mmcv import imread")
    else:
        assert imported("import mmcv.ops.point_sample\nfrom mmcv.ops import point_sample")["point_sample"](3) == 3


@pytest.mark.filterwarnings("ignore:portbev.compat.mmcv.*libcudart:RuntimeWarning")
def test_imported_and_never_called_is_fine_where_that_is_asked_for(world: str) -> None:
    install(uncovered="call")
    found = imported("from mmcv.ops import nms, Points, DeformConv2dPack\nfrom mmcv.ops.nms import soft_nms")
    assert found["DeformConv2dPack"] is deform_conv.DeformConv2dPack
    if world == "works":
        assert found["nms"](3) == 3
        return
    for name in ("nms", "soft_nms"):
        with pytest.raises(NotImplementedError, match=r"mmcv\.(ops|_ext)\.(nms\.)?(nms|soft_nms) was called"):
            found[name](torch.rand(3, 4))


def test_an_extension_that_does_not_load_is_told_once(plant: Plant) -> None:
    plant("raises")
    install()
    with pytest.warns(RuntimeWarning, match="libcudart") as told:
        imported("import mmcv.ops, mmcv.ops.deform_conv, mmcv._ext")
    assert len(told) == 1


def test_a_star_brings_what_mmcvs_would() -> None:
    install()
    assert set(EXPORTED) <= set(imported("from mmcv.ops import *")) and "nms" not in imported("from mmcv.ops import *")


def test_names_taken_before_are_exchanged_and_given_back(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant("works")
    users = types.ModuleType("users")
    exec("from mmcv.ops import *\nfrom mmcv.ops.deform_conv import DeformConv2d as D", vars(users))
    exec("class Own(DeformConv2dPack):\n    pass\nmade, own = DeformConv2dPack(2, 2, 1), Own(2, 2, 1)", vars(users))
    monkeypatch.setitem(sys.modules, "users", users)
    mmcvs, x = users.DeformConv2dPack, torch.rand(2, 2, 3, 3)
    with pytest.raises(RuntimeError, match="implementation for device cpu not found"):
        users.made(x)
    install()
    assert users.DeformConv2dPack is deform_conv.DeformConv2dPack and users.D is deform_conv.DeformConv2d
    for layer in (users.made, users.own, users.Own(2, 2, 1)):  # of mmcv's class: they compute with portbev's operator
        torch.testing.assert_close(layer(x), x.sum(1, keepdim=True).expand(-1, 2, -1, -1))
    assert imported("from mmcv.cnn import CONV_LAYERS as r")["r"].module_dict["DCN"] is deform_conv.DeformConv2dPack
    uninstall()
    assert users.DeformConv2dPack is mmcvs is imported("from mmcv.ops import DeformConv2dPack as d")["d"]
    registry = imported("from mmcv.cnn import CONV_LAYERS as r")["r"].module_dict
    assert registry == {"DCN": mmcvs}
    with pytest.raises(RuntimeError, match="implementation for device cpu not found"):
        users.made(x)


@pytest.mark.filterwarnings("ignore:portbev.compat.mmcv.*libcudart:RuntimeWarning")
def test_uninstalled_it_is_as_it_was(world: str) -> None:
    before = list(sys.meta_path)
    install()
    imported("import mmcv.ops, mmcv.cnn")
    uninstall()
    uninstall()
    assert sys.meta_path == before
    if world == "works":
        own = imported("from mmcv.ops import DeformConv2dPack as d")["d"]
        assert own.__module__ == "mmcv.ops.deform_conv"
        assert own is imported("import mmcv.ops.deform_conv as m")["m"].DeformConv2dPack
    else:
        with pytest.raises(ImportError):
            imported("import mmcv.ops")


def test_installing_twice_changes_nothing_and_with_other_arguments_anew() -> None:
    first = install()
    assert install() is first and [type(f).__name__ for f in sys.meta_path].count("Finder") == 1
    imported("import mmcv.ops")
    install(version="1.7.0")
    assert imported("import mmcv")["mmcv"].version_info == (1, 7, 0)
    assert [type(f).__name__ for f in sys.meta_path].count("Finder") == 1


def test_an_installed_mmcv_can_be_left_aside(plant: Plant) -> None:
    (plant("works") / "__init__.py").write_text("raise ImportError('numpy.core.multiarray failed to import')\n")
    install(standalone=True)
    assert imported("import mmcv.ops")["mmcv"].__version__ == "2.1.0"
    uninstall()
    sys.modules["mmcv"] = types.ModuleType("mmcv")
    with pytest.raises(PortbevError, match="imported already"):
        install(standalone=True)


@pytest.mark.parametrize("wrong", [{"uncovered": "never"}, {"version": "2"}])
def test_a_wrong_argument_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(PortbevError, match=next(iter(wrong))):
        install(**wrong)


def test_a_folder_named_mmcv_without_code_is_no_mmcv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mmcv" / "docs").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert install().mmcv == ""
    imported("from mmcv.ops import DeformConv2dPack")


def test_models_are_pickled_and_loaded_with_and_without_it(tmp_path: Path) -> None:
    install()
    layer = imported("from mmcv.ops import ModulatedDeformConv2dPack as D")["D"](2, 3, 3, padding=1)
    x = torch.rand(1, 2, 4, 4)
    torch.save(layer, tmp_path / "model.pth")
    packed = pickle.dumps(layer)
    uninstall()
    for again in (pickle.loads(packed), torch.load(tmp_path / "model.pth", weights_only=False)):
        assert torch.equal(again(x), layer(x))
    # a model that mmcv itself had saved names its class by mmcv's module
    theirs = packed.replace(b"portbev.compat.mmcv.modulated_deform_conv", b"mmcv.ops.modulated_deform_conv")
    theirs = theirs.replace(b"\x8c\x29mmcv.ops", b"\x8c\x1emmcv.ops")
    frame = theirs.index(b"\x95")
    size = int.from_bytes(theirs[frame + 1 : frame + 9], "little") - 11
    theirs = theirs[: frame + 1] + size.to_bytes(8, "little") + theirs[frame + 9 :]
    install()
    assert torch.equal(pickle.loads(theirs)(x), layer(x))


def test_the_kernels_of_cuda_do_not_take_it_for_mmcv() -> None:
    mmcv_ops = pytest.importorskip("portbev_cuda.mmcv_ops")
    for uncovered in ("import", "call"):
        install(uncovered=uncovered)  # type: ignore[arg-type]
        assert mmcv_ops.probe() is not None


def test_every_name_is_where_the_table_says() -> None:
    for target, names in OPERATORS.values():
        module = importlib.import_module(target)
        assert set(names) == set(module.__all__)
