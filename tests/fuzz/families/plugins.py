"""Plugins that raise, print, register nonsense, have broken metadata, or return odd things."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from cases import ANY, DONE, FAILED, REFUSED_OR_FAILED, Case, Family

from families.materials import install, scene

RAISES = (
    "raise ValueError('no')", "raise SystemExit", "raise SystemExit(0)",
    "raise SystemExit('a text')",
    "raise BaseException('base')", "raise GeneratorExit", "raise MemoryError",
    "raise RecursionError('deep')",
    "raise OSError(28, 'No space left on device')", "raise ImportError('no such library')",
    "raise Silent",
    "raise ValueError('two\\nlines')",
    "raise ValueError('\\x1b[31mred\\x1b[0m')", "raise ValueError('a' * 100_000)",
    "raise ValueError('\\udcff')", "raise KeyError", "raise StopIteration", "raise NoText", "1 / 0",
    "import no_such_module_at_all", "assert False",
    "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')",
    "raise Exception(ValueError('inner'))",
    "raise ExceptionGroup('several', [ValueError('a'), KeyError('b')])",
    "(lambda f: f(f))(lambda f: f(f))", "raise Quiet", "raise NotImplementedError",
    "raise TimeoutError",
)  # fmt: skip
COMMON = """
import sys, os, warnings
from threedis_core.plugin.hookspecs import hookimpl

class Silent(Exception):
    pass

class Quiet(BaseException):
    pass

class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")
"""
HOOK = """
@hookimpl
def threedis_register_renderers(register):
    pass
"""
NAMES = (
    "", " ", "A", "a b", "a.b", "a/b", "../x", "a@b", "-x", "a" * 65,
    "\\x1b[31m", "a\\n", "ü", "__init__", "fake",
    "sd15", "boxes", "pocket-sd15", "con", "1", "a\\x00",
)  # fmt: skip
ODD_VALUES = (
    "None", "5", "True", "b'fake'", "['a']", "{}", "object()", "1.5", "lambda: 0", "type",
    "'\\x1b[31m'", "'a' * 99_999",
    "'\\udcff'", "float('nan')", "Silent", "''",
)  # fmt: skip
TARGETS = (
    "'nope'", "'nope:'", "':Nope'", "'nope.nope:Nope'", "'os:system'", "'os:nope'", "'sys:exit'",
    "'a b:c'", "None",
    "5", "'threedis_core.testing.fakes:FakeDepthModel'",
    "'threedis_core.plugin.interfaces:RenderBackend'",
    "'threedis_core.testing.fakes:nope'",
    "'\\x1b[31m:x'", "'.relative:X'", "'odd_plugin:odd_plugin'", "'antigravity:X'",
    "'__main__:X'", "'threedis_core.testing.fakes:FakeRenderer.render'", "'this:s'", "['a:b']",
    "'odd_plugin:Bad'",
)  # fmt: skip
KINDS = {
    "renderers": "FakeRenderer",
    "depth_models": "FakeDepthModel",
    "depth_estimators": "FakeRenderer",
    "region_refiners": "FakeRenderer",
    "instance_detectors": "FakeRenderer",
    "metrics": "FakeRenderer",
}


def _command(random: Random) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """A command that does not need the odd plugin, its outputs, and whether it prints JSON."""
    commands = (
        (("plugins",), (), False),
        (("plugins", "--json"), (), True),
        (("layout", "check", "scene.json"), (), False),
        (("layout", "check", "--json", "scene.json"), (), True),
        (("--version",), (), False),
        (
            (
                "render",
                "scene.json",
                "--depth",
                "depth.png",
                "--renderer",
                "fake",
                "--out",
                "run",
                "--json",
            ),
            ("run",),
            True,
        ),
    )
    return random.choice(commands)


def _beside(
    random: Random, name: str, install_odd: Callable[[Path], None], chatty: bool = False
) -> Case:
    """The odd plugin stands beside good ones, which must work."""
    arguments, outputs, is_json = _command(random)

    def prepare(work: Path) -> None:
        scene(work)
        install_odd(work / "site")

    return Case(
        name, arguments, DONE, prepare, outputs, is_json, plugins=True, chatty=chatty
    )  # fmt: skip


def _source_case(random: Random, name: str, source: str, chatty: bool = False) -> Case:
    return _beside(random, name, lambda site: install(site, "odd-plugin", COMMON + source), chatty)


def _raises_at_import(random: Random) -> Case:
    raises = random.choice(
        (*RAISES, "def broken(:", "\x00", "import odd_plugin_too", "from . import x")
    )
    return _source_case(random, f"at import: {raises!r}", raises)


def _raises_in_hook(random: Random) -> Case:
    raises = random.choice(RAISES)
    hook = random.choice((*KINDS, "presets"))
    source = f"""
@hookimpl
def threedis_register_{hook}(register):
    {raises}
"""
    return _source_case(random, f"in {hook}: {raises!r}", source)


def _commands_hook(random: Random) -> Case:
    body = random.choice(
        (
            *RAISES, "app.command('render')(lambda: None)", "app.add_typer(5, name='x')",
            "app.command('odd')(5)",
            "bench.command('')(lambda: None)", "app.command('plugins')(lambda: print('mine'))",
            "app.command('\\x1b[31m')(lambda: None)", "app.registered_commands.clear()",
            "app.callback()(lambda: None)",
            "app.command('odd')(lambda x: None)",
            "app.command('odd', help='\\x1b[31m')(lambda: None)",
        )
    )  # fmt: skip
    source = f"""
@hookimpl
def threedis_register_commands(app, bench):
    {body}
"""
    return _source_case(random, f"commands: {body!r}", source, chatty=True)


def _registers_nonsense(random: Random) -> Case:
    kind = random.choice(list(KINDS))
    way = random.randrange(6)
    name = repr("odd-one")
    target = f"'threedis_core.testing.fakes:{KINDS[kind]}'"
    summary = "'A summary'"
    call = "register({name}, {target}, {summary})"
    if way == 0:
        name = "'" + random.choice(NAMES) + "'"
    elif way == 1:
        name = random.choice(ODD_VALUES)
    elif way == 2:
        target = random.choice(TARGETS)
    elif way == 3:
        summary = random.choice((*ODD_VALUES, *(f"'{name}'" for name in NAMES)))
    elif way == 4:
        call = random.choice(
            ("register()", "register({name})", "register({name}, {target}, {summary}, 5)",
            "register(x=1)",
             "[register('n%d' % n, {target}) for n in range(3000)]", "register.args[0]",
             "globals()['kept'] = register",
             "return 5", "yield", "register({name}, {target}); register({name}, {target})",
             "register({name}, {target}); raise ValueError('half done')")
        )  # fmt: skip
    else:
        kind = "presets"
        options = random.choice(
            (*ODD_VALUES, "{'tint': 5}", "{5: 5}", "{'tint': object()}", "dict.fromkeys('ab')")
        )
        backend = random.choice(("'fake'", "'nope'", "'odd-one'", "'pale'", *ODD_VALUES))
        call = f"register('odd-one', {backend}, {options}, 'A summary')"
    line = call.format(name=name, target=target, summary=summary) if way != 5 else call
    source = f"""
odd_plugin = 5
@hookimpl
def threedis_register_{kind}(register):
    {line}
"""
    return _source_case(random, f"{kind}: {line}"[:150], source)


def _odd_hooks(random: Random) -> Case:
    sources = (
        "", "odd = 5", "@hookimpl\ndef threedis_register_nonsense(register):\n    pass",
        "@hookimpl\ndef threedis_register_renderers(other):\n    pass",
        "@hookimpl\ndef threedis_register_renderers():\n    pass",
        "@hookimpl(wrapper=True)\ndef threedis_register_renderers(register):\n    yield",
        "@hookimpl(hookwrapper=True)\ndef threedis_register_renderers(register):\n    return 5",
        "@hookimpl(tryfirst=1, trylast=1)\ndef threedis_register_renderers(register):\n    pass",
        "@hookimpl\nasync def threedis_register_renderers(register):\n    pass",
        "@hookimpl\nclass threedis_register_renderers:\n    pass",
        "@hookimpl(specname='nope')\ndef f(register):\n    pass", "hookimpl(5)",
        "from threedis_core import load_plugins\nload_plugins()",
        "def __getattr__(name):\n    raise ValueError(name)",
        "def __dir__():\n    return [5]", "threedis_register_renderers = hookimpl",
        "import os\nos.chdir('..')", "import os\nos.environ.clear()",
        "import locale\nlocale.setlocale(locale.LC_ALL, 'C')",
        "import signal\nsignal.alarm(0)", "import atexit\natexit.register(lambda: 1)",
        "import warnings\nwarnings.warn('odd')",
        "import logging\nlogging.basicConfig(level=0)\nlogging.error('odd')",
    )  # fmt: skip
    source = random.choice(sources)
    breaks = "os." in source  # the ground under every command; it may fail, in one line
    case = _source_case(random, f"a module {source[-60:]!r}", source, chatty=True)
    if not breaks:
        return case
    return replace(case, codes=ANY, outputs=("run",), is_json=False)


def _prints(random: Random) -> Case:
    prints = random.choice(
        ("print('noise')", "print('noise', file=sys.stderr)", "sys.stdout.write('{')",
        "warnings.warn('noise')", "print('noise', flush=True)")
    )  # fmt: skip
    where = random.choice(("import", "hook"))
    source = prints if where == "import" else f"""
@hookimpl
def threedis_register_renderers(register):
    {prints}
"""  # fmt: skip
    return _source_case(random, f"at {where}: {prints}", source, chatty=True)


def _broken_metadata(random: Random) -> Case:
    good = "Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n"
    points = "[threedis]\nodd = odd_plugin\n"
    odd: dict[str, tuple[bytes | None, bytes | None]] = {
        "no METADATA": (None, points.encode()),
        "empty METADATA": (b"", points.encode()),
        "binary METADATA": (bytes(range(256)), points.encode()),
        "no name": (b"Version: 1.0\n", points.encode()),
        "no version": (b"Name: odd\n", points.encode()),
        "ESC in the name": (good.replace("odd", "\x1b[31modd").encode(), points.encode()),
        "a long name": (good.replace("odd", "a" * 100_000).encode(), points.encode()),
        "no entry points": (good.encode(), None),
        "a line without '='": (good.encode(), b"[threedis]\nodd\n"),
        "no section": (good.encode(), b"odd = odd_plugin\n"),
        "an open section": (good.encode(), b"[threedis\nodd = odd_plugin\n"),
        "binary entry points": (good.encode(), bytes(range(256))),
        "no module": (good.encode(), b"[threedis]\nodd =\n"),
        "an odd module": (good.encode(), b"[threedis]\nodd = a b c!\n"),
        "an attribute": (good.encode(), b"[threedis]\nodd = odd_plugin:nope.nope\n"),
        "ESC in the point": (good.encode(), b"[threedis]\n\x1b[31modd = odd_plugin\n"),
        "ESC in the module": (good.encode(), b"[threedis]\nodd = \x1b[31modd\n"),
        "the core's name": (good.replace("odd", "threedis").encode(),
        b"[threedis]\ncore = odd_plugin\n"),
        "twice": (good.encode(), b"[threedis]\nodd = odd_plugin\nodd = odd_plugin\n"),
        "under two names": (good.encode(), b"[threedis]\nodd = odd_plugin\nodd2 = odd_plugin\n"),
        "a thousand": (good.encode(), b"[threedis]\n" + b"".join(b"o%d = no%d\n" % (n,
        n) for n in range(1000))),
        "extras": (good.encode(), b"[threedis]\nodd = odd_plugin [extra]\n"),
        "UTF-16": (good.encode("utf-16"), points.encode("utf-16")),
        "other groups": (good.encode(), b"[console_scripts]\nodd\n[threedis]\nodd = odd_plugin\n"),
        "a relative module": (good.encode(), b"[threedis]\nodd = .odd\n"),
        "an empty name": (good.encode(), b"[threedis]\n = odd_plugin\n"),
    }  # fmt: skip
    name = random.choice(list(odd))
    metadata, entry_points = odd[name]

    def install_odd(site: Path) -> None:
        info = site / "odd-1.0.dist-info"
        info.mkdir()
        (site / "odd_plugin.py").write_text(COMMON + HOOK)
        if metadata is not None:
            (info / "METADATA").write_bytes(metadata)
        if entry_points is not None:
            (info / "entry_points.txt").write_bytes(entry_points)

    case = _beside(random, name, install_odd)
    # Python lets the first distribution of a name stand for all of that name.
    return replace(case, codes=ANY) if name == "the core's name" else case


def _odd_folders(random: Random) -> Case:
    """What may lie on the path instead of a distribution."""
    way = random.choice(("file", "fifo", "egg", "loop", "folder", "unreadable", "dangling", "many"))

    def install_odd(site: Path) -> None:
        from families.layouts import make_odd

        info = site / "odd-1.0.dist-info"
        if way == "file":
            info.write_text("odd")
        elif way == "egg":
            (site / "odd.egg-info").write_text("Name: odd\n")
        elif way == "many":
            for number in range(200):
                (site / f"odd{number}-1.0.dist-info").mkdir()
        elif way == "unreadable":
            info.mkdir()
            (info / "entry_points.txt").mkdir()
        elif way in ("loop", "dangling"):
            make_odd(info, way)
        else:
            info.mkdir()
            make_odd(info / "METADATA", way)

    return _beside(random, f"a distribution is a {way}", install_odd)


RETURNS = (
    "None", "[]", "results + results", "results[:-1]", "5", "(r for r in results)",
    "tuple(results)", "[None]", "[5]",
    "{0: results[0]}", "'results'", "[Image.new('RGB', (64, 64))]", "[RenderResult(None)]",
    "[RenderResult(5)]",
    "[RenderResult(Image.new('RGB', (8, 8)))]", "[RenderResult(Image.new('RGB', (0, 0)))]",
    "[RenderResult(Image.new('L', (64, 64)))]", "[RenderResult(Image.new('RGBA', (64, 64)))]",
    "[RenderResult(Image.new('F', (64, 64)))]", "[RenderResult(Image.new('CMYK', (64, 64)))]",
    "[RenderResult(np.zeros((64, 64, 3), np.uint8))]", "[RenderResult(results[0].image, None)]",
    "[RenderResult(results[0].image, 5)]", "[RenderResult(results[0].image, {'a': object()})]",
    "[RenderResult(results[0].image, {5: 5})]",
    "[RenderResult(results[0].image, {'a': float('nan')})]",
    "[RenderResult(results[0].image, {'a': float('inf')})]",
    "[RenderResult(results[0].image, {'a': np.float32(1)})]",
    "[RenderResult(results[0].image, {'a': b'x'})]",
    "[RenderResult(results[0].image, {'a': '\\udcff'})]",
    "[RenderResult(results[0].image, {'a': '\\x1b[31m'})]",
    "[RenderResult(results[0].image, {'a': {1, 2}})]",
    "[RenderResult(results[0].image, {'a': 'x' * 3_000_000})]",
    "[RenderResult(results[0].image, cycle())]",
    "[RenderResult(results[0].image, {(1, 2): 3})]", "[RenderResult(results[0].image, {}, None)]",
    "[RenderResult(results[0].image, {}, 5)]", "[RenderResult(results[0].image, {}, 'a text')]",
    "[RenderResult(results[0].image, {}, ('\\x1b[31mred',))]",
    "[RenderResult(results[0].image, {}, ('two\\nlines',))]",
    "[RenderResult(results[0].image, {}, (5,))]", "[RenderResult(results[0].image, {}, (None,))]",
    "[RenderResult(results[0].image, {}, ('\\udcff',))]",
    "[RenderResult(results[0].image, {}, ({},))]",
    "[RenderResult(results[0].image, {}, ['a'] * 1000)]", "(print('noise'), results)[1]", "results",
    "(sys.stdout.write('noise'), results)[1]", "(os.write(1, b'noise'), results)[1]",
    "(os.chdir('..'), results)[1]",
    "(progress('x', -1, 0), results)[1]",
    "(progress('\\x1b[31m', 5, 1), results)[1]", "(progress(5, None, 'a'), results)[1]",
    "(warnings.warn('noise'), results)[1]", "(logging.error('noise'), results)[1]",
    "(os.mkdir('run'), results)[1]",
    "(setattr(requests[0].layout, 'prompt', 'x'), results)[1]",
    "(requests[0].depth.values.fill(0), results)[1]",
    "(requests[0].regions.masks.fill(0), results)[1]", "[RenderResult(Broken())]",
    "(os.makedirs('run', exist_ok=True), open('run/mine', 'w').close(), results)[2]",
)  # fmt: skip
RENDERER = (
    COMMON
    + """
import logging
import numpy as np
from PIL import Image
from threedis_core.plugin.interfaces import *
from threedis_core.testing.fakes import *

class Broken:
    @property
    def size(self):
        raise ValueError("no size")

def cycle():
    a = {}
    a["a"] = a
    return a

class Odd(FakeRenderer):
    def render(self, requests, progress=silent):
        results = super().render(requests, progress)
        BODY
EXTRA
@hookimpl
def threedis_register_renderers(register):
    register("odd", "odd_plugin:Odd", "Odd")
"""
)
RENDER = ("render", "scene.json", "--depth", "depth.png", "--out", "run")


def _renderer_case(
    random: Random, name: str, body: str, extra: str, codes: frozenset[int] = ANY
) -> Case:
    source = RENDERER.replace("BODY", body).replace("EXTRA", extra)
    is_json = random.random() < 0.4
    first = ("--renderer", "fake") if random.random() < 0.3 else ()
    arguments = (*RENDER, *first, "--renderer", "odd", *(("--json",) if is_json else ()))

    def prepare(work: Path) -> None:
        scene(work)
        install(work / "site", "odd-plugin", source)

    return Case(
        name, arguments, codes, prepare, ("run",), is_json, keeps_part=True, plugins=True,
        chatty=any(word in body + extra for word in ("print", "noise", "write", "warn")),
    )  # fmt: skip


def _odd_results(random: Random) -> Case:
    returned = random.choice(RETURNS)
    return _renderer_case(random, f"render returns {returned}", f"return {returned}", "")


def _failing_renderer(random: Random) -> Case:
    raises = random.choice(RAISES)
    where = random.choice(("render", "close", "__init__", "capabilities", "check", "inspect"))
    if where == "render":
        return _renderer_case(random, f"render: {raises!r}", raises, "", FAILED)
    bodies = {
        "close": "    def close(self):\n        ",
        "__init__": "    def __init__(self, options):\n        ",
        "capabilities": "    @property\n    def capabilities(self):\n        ",
        "check": "    def check(self):\n        ",
        "inspect": "    def inspect(self):\n        ",
    }
    codes = ANY if where in ("close", "inspect", "check") else REFUSED_OR_FAILED
    return _renderer_case(
        random, f"{where}: {raises!r}", "return results", bodies[where] + raises, codes
    )


def _odd_classes(random: Random) -> Case:
    extras = (
        "    Options = None", "    Options = dict", "    Options = 5", "    del render",
        "    render = None", "    close = 5",
        "    capabilities = None", "    capabilities = 5",
        "    capabilities = Capabilities(size_multiple=0)",
        "    capabilities = Capabilities(size_multiple=-8)",
        "    capabilities = Capabilities(size_multiple=8.5)",
        "    capabilities = Capabilities(default_size=(0, 0))",
        "    capabilities = Capabilities(default_size=5)",
        "    capabilities = Capabilities(default_size=(10**9, 10**9))",
        "    capabilities = Capabilities(max_instances=-1)",
        "    capabilities = Capabilities(default_size=('a', 'b'))",
        "    capabilities = Capabilities(max_instances='x')",
        "    capabilities = Capabilities(default_size=(float('nan'), 1))",
        "    capabilities = Capabilities(controls=None)",
        "    capabilities = Capabilities(size_multiple=10**30)", "    check = None",
        "    check = 5", "    inspect = 5",
        "    def check(self):\n        return 5", "    def close(self, more):\n        pass",
        "    def render(self):\n        pass",
        "    async def render(self, requests, progress):\n        return []",
        "    def __bool__(self):\n        raise ValueError",
        "    def __getattribute__(self, name):\n        raise ValueError(name)",
        "    def __new__(cls, *a):\n        return None",
        "    def __new__(cls, *a):\n        return 5",
        
        "    def __eq__(self, other):\n        raise ValueError", "    __slots__ = 5",
        "    def render(self, requests, progress):\n        yield 5",
    )  # fmt: skip
    extra = random.choice(extras)
    case = _renderer_case(random, f"a class with {extra.strip()!r}", "return results", extra)
    if "async" in extra:  # Python itself says on stderr what it ignores
        return replace(case, chatty=True)
    return case


MODEL = (
    COMMON
    + """
import numpy as np
from threedis_core.plugin.interfaces import *
from threedis_core.testing.fakes import *
from threedis_core.values.depth import DepthMap
from threedis_core.values.regions import Regions

class OddDepth(FakeDepthModel):
    def generate(self, requests, progress=silent):
        maps = super().generate(requests, progress)
        DEPTH

class OddRefiner(RegionRefiner):
    Options = BackendOptions

    def refine(self, layout, depth):
        REFINE

class OddEstimator(DepthEstimator):
    Options = BackendOptions

    def estimate(self, pictures, progress=silent):
        maps = [DepthMap(np.ones((one.height, one.width), np.float32) / 2) for one in pictures]
        DEPTH

@hookimpl
def threedis_register_depth_models(register):
    register("odd-depth", "odd_plugin:OddDepth", "Odd")

@hookimpl
def threedis_register_region_refiners(register):
    register("odd-refiner", "odd_plugin:OddRefiner", "Odd")

@hookimpl
def threedis_register_depth_estimators(register):
    register("odd-estimator", "odd_plugin:OddEstimator", "Odd")
"""
)
MAPS = (
    "None", "[]", "maps * 2", "5", "maps", "tuple(maps)", "(m for m in maps)", "[None]", "[5]",
    "[maps[0].values]", "'a'",
    "[np.zeros((64, 64))]", "[DepthMap(np.ones((4, 4), np.float32))]",
    "[DepthMap(np.full((64, 64), np.nan, np.float32))]",
    "[DepthMap(np.ones((64, 64)) * 5)]", "[DepthMap(np.ones((64, 64, 3), np.float32))]",
    "[DepthMap(None)]",
    "(print('noise'), maps)[1]", "{0: maps[0]}", "[maps[0], None]",
    "(os.write(1, b'noise'), maps)[1]",
)  # fmt: skip
REGIONS = (
    "None", "5", "[]", "Regions.from_layout(layout, 8, 8)", "Regions(None)",
    "np.zeros((2, 8, 8), bool)", "'aa'", "[1, 2]",
    "Regions(np.zeros((2, 8, 8), bool))", "Regions(np.zeros((3, 8, 8), bool))",
    "Regions(np.zeros((2, 0, 0), bool))",
    "Regions(np.full((2, 8, 8), np.nan))", "print('noise')", "depth", "layout",
    "layout.instances", "(1, 2)", "{0: 1, 1: 2}",
)  # fmt: skip


def _odd_models(random: Random) -> Case:
    way = random.choice(("depth", "generate", "estimate", "refine"))
    fails = random.random() < 0.3
    table = REGIONS if way == "refine" else MAPS
    body = random.choice(RAISES) if fails else f"return {random.choice(table)}"
    source = MODEL.replace("REFINE", body if way == "refine" else "pass")
    source = source.replace("DEPTH", body if way != "refine" else "return maps")
    commands = {
        "depth": (("render", "scene.json", "--renderer", "fake", "--out", "run", "--depth-model",
        "odd-depth")),
        "generate": ("depth", "generate", "scene.json", "--model", "odd-depth", "--out", "run.png"),
        "estimate": ("depth", "estimate", "depth.png", "--model", "odd-estimator", "--out",
        "run.png"),
        "refine": (*RENDER, "--renderer", "fake", "--region-refiner", "odd-refiner"),
    }  # fmt: skip
    codes = FAILED if fails else ANY

    def prepare(work: Path) -> None:
        scene(work)
        install(work / "site", "odd-plugin", source)

    return Case(
        f"{way}: {body}", commands[way], codes, prepare, ("run",), plugins=True,
        chatty="noise" in body,
    )  # fmt: skip


def _bad_name_used(random: Random) -> Case:
    """Choosing what a broken plugin registered."""
    target = random.choice(TARGETS)
    source = f"""
class Bad:
    pass
odd_plugin = 5
@hookimpl
def threedis_register_renderers(register):
    register("odd", {target})
"""

    def prepare(work: Path) -> None:
        scene(work)
        install(work / "site", "odd-plugin", COMMON + source)

    arguments = (*RENDER, "--renderer", "odd")
    return Case(
        f"a renderer {target}", arguments, REFUSED_OR_FAILED, prepare, plugins=True, chatty=True
    )


RECIPES = (
    _raises_at_import, _raises_in_hook, _commands_hook, _registers_nonsense, _odd_hooks, _prints,
    _broken_metadata,
    _odd_folders, _odd_results, _odd_results, _failing_renderer, _odd_classes, _odd_models,
    _bad_name_used,
)  # fmt: skip
FAMILY = Family("plugins", RECIPES, share=16, in_tests=56)
