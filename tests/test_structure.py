"""The house itself: floors, settings files, version."""

import ast
import subprocess
import sys
from pathlib import Path

import gapfill

PACKAGE = Path(gapfill.__file__).parent

FLOORS = [
    {"_version", "errors"},
    {"reading", "untraced"},
    {
        *("about", "types", "config", "cache", "checkpoint"),
        *("compute", "pictures", "randomness", "ranks"),
    },
    {"trunks", "pretrained"},
    {"console", "masks", "nets", "losses", "metrics", "optim"},
    {"data", "train", "loggers"},
    {"watcher", "card", "summary", "origin", "identity"},
    {"fitting", "hub"},
    {"inpainter"},
    {"saved"},
    {"registry"},
    {"models"},
    {"recipe", "fill", "exporting"},
    {"testing", "report"},
    {"compare"},
    {"commands"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


class WithoutTypes(ast.NodeTransformer):
    """Leaves out what is imported for annotations alone, and never runs."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imports(path):
    """The top-level gapfill modules that a file imports, wherever in it, where it runs."""
    for node in ast.walk(WithoutTypes().visit(ast.parse(path.read_text()))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "gapfill":
                yield from [parts[1]] if len(parts) > 1 else [a.name for a in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("gapfill."))


def test_a_module_imports_only_from_floors_below_its_own():
    found = [
        (path, module_of(path), other) for path in PACKAGE.rglob("*.py") for other in imports(path)
    ]
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path, module, other in found
        if {module, other} <= set(FLOOR) and module != other and FLOOR[other] >= FLOOR[module]
    ]
    assert not wrong


def test_every_module_has_a_floor():
    found = {module_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert found == set(FLOOR)


def test_only_the_trainer_goes_backward():
    callers = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if ".backward(" in path.read_text()
    ]
    assert sorted(callers) == ["testing.py", "train/engine.py"]


def test_shared_code_names_no_model():
    names = {f'"{name}"' for name in gapfill.list_models()}
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith("models/"):
            continue
        strings = {
            f'"{node.value}"'
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not names & strings - {'"mean"'}, place


def test_every_public_name_can_be_had():
    for name in gapfill.__all__:
        assert getattr(gapfill, name) is not None


def test_importing_gapfill_does_not_import_torch():
    code = "import sys, gapfill; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_masks_and_their_like_are_there_without_being_imported():
    code = "import gapfill; gapfill.masks.draw, gapfill.metrics.psnr, gapfill.testing"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_filling_does_not_import_the_compiler():
    code = (
        "import sys, torch, gapfill; before = 'torch._dynamo' in sys.modules\n"
        "image = torch.zeros(1, 3, 64, 64); mask = gapfill.masks.draw('center', [0], 64)\n"
        "gapfill.create('cnn', pretrained='center').inpaint(image, mask)\n"
        "raise SystemExit('torch._dynamo' in sys.modules and not before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
