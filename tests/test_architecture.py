"""
The layout of the house, held in place: what may import what, who may touch the world, and how large things get.

Each rule is a function of one module; each is tried on a snippet that breaks it, so that none is blind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import median

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]

#: The rooms of each floor; a module may import what is in its own room, and whatever is on a floor below.
FLOORS: tuple[dict[str, str], ...] = (
    {
        "vocabulary": "local model errors reports audit history rollouts.* changes interfaces"
        " access.* codec.* interfaces.* runtime.timing runtime.lru"
        " runtime.limiter runtime.coroutines runtime.histogram runtime.metrics runtime.exposition runtime.reactor_lag"
        " runtime.reload runtime.problem runtime.signal runtime.list_delivery"
        " runtime.write_behind runtime.offload runtime.addresses runtime.files runtime.transport runtime.reactor"
        " runtime.atomic_file runtime.waiters"
        " runtime.certificate_expiry runtime.certificate_errors"
    },
    {"client": "client.* runtime.tls runtime.tls_on_demand", "web": "web.*", "brokers": "brokers.*"},
    {"controller": "controller.*", "agent": "agent.*", "worker": "worker.*"},
    {
        "roots": "runtime.setting runtime.setting_types runtime.environment runtime.options"
        " runtime.settings.* runtime.logs runtime.log_file"
        " runtime.systemd runtime.daemon runtime.listener runtime.listen_address runtime.pid_file runtime.unix_signals"
        " runtime.prompt_writes"
        " brokers.factory dev cli.* testing.* *.tap *.composition *.factories"
    },
)

#: Libraries that one room, or one module, keeps from the others.
OWNERS = {
    "jinja2": "agent.outputs.file.templates",
    "subprocess": "agent.outputs.file.commands cli.*",
    "yaml": "codec.yaml_reader codec.yaml_writer",
    "klein": "web.*",
    "werkzeug": "web.*",
    "httptools": "web.server.request_head",
    "nats": "brokers.nats.*",
    "aiokafka": "brokers.kafka.*",
    "txredisapi": "brokers.redis.protocol",
    "asyncio": "brokers.nats.* brokers.kafka.connection brokers.tasks runtime.options local",
    "sqlite3": "controller.store.* cli.go_database cli.backup_file",
    "psycopg": "controller.store.postgres.* cli.commands.database",
    "twisted.enterprise": "controller.store.*",
    "jsonschema_rs": "controller.configs.schema",
    "rfc8785": "codec.strict_json",
    "automat": "agent.lifecycle",
    "click": "cli.*",
    "rich": "cli.*",
}

#: Modules with imports inside functions, and what these load; the roots of a process and the command line may have
#: others. A process pays for a library once it uses it; see L{tests.runtime.test_imports}.
LATE = {
    "agent.outputs.file.formats": "PyYAML",
    "brokers.factory": "the library of the selected broker",
    "codec.signing": "cryptography, for the first message to sign or to verify",
    "runtime.addresses": "idna, for the first host name that is not ASCII",
    "runtime.listen_address": "plug-ins",
    "runtime.listener": "TLS, for an endpoint with a certificate",
    "runtime.metrics": "prometheus_client, for the first scrape",
    "runtime.prompt_writes": "epoll, which only Linux has",
    "runtime.tls_on_demand": "TLS, for the first connection that uses it",
    "web.api.routes": "Klein, for the first request whose path is not in the dictionary",
    "web.openapi.pages": "the API document, for the first client that asks for it",
}

#: Those that build a process: the only readers of what a process has one of.
COMPOSITION = "*.tap *.composition *.factories dev cli.main runtime.daemon runtime.options"

#: Verbs that a docstring of a function may begin with; add one that a docstring needs.
VERBS = """
    Abort Accept Acknowledge Acquire Activate Add Adopt Advance Allow Announce Answer Append Apply Approve Ask
    Assemble Assert Assign Attach Audit Authenticate Await Back Balance Begin Bind Block Bound Bring Broadcast Buffer
    Build Cache Calculate Call Cancel Cap Change Check Choose Claim Classify Clean Clear Close Coalesce Collect
    Combine Come Commit Compare Compile Complete Compose Compute Configure Confirm Connect Construct Consume Convert
    Copy Count Create Cut Decide Declare Decline Decode Defer Delay Delete Deliver Deny Derive Describe Detach Detect
    Determine Discard Disconnect Discover Do Drain Draw Drop Edit Embed Emit Enable Encode End Enforce Enter Escape
    Estimate Evict Examine Exclude Execute Exempt Exit Expand Expire Explain Export Extend Extract Fail Fetch Fill
    Filter Find Finish Fire Fix Flush Follow Forbid Force Forget Format Forward Free Gather Generate Get Give Go Group
    Guard Guess Halt Hand Handle Hash Hide Hint Hold Identify Ignore Import Include Increase Index Infer Inform
    Initialize Insert Inspect Install Invalidate Iterate Join Judge Keep Kill Know Label Launch Leave Let Limit Link
    List Listen Load Locate Lock Log Look Lower Make Manage Map Mark Match Measure Merge Migrate Mount Move Name
    Negotiate Normalize Note Notice Notify Number Observe Offer Offload Omit Open Order Pace Pack Parse Pass Patch
    Pause Peek Perform Persist Pick Ping Place Poll Post Prefer Prepare Present Preview Print Process Produce Propose
    Prove Provide Prune Publish Pull Push Put Query Queue Quote Raise Range Read Rebuild Receive Recognize Recompute
    Reconcile Reconnect Record Recover Redact Redirect Reduce Refresh Refuse Register Reject Release Reload Remember
    Remove Rename Render Reopen Repair Repeat Replace Replay Reply Report Request Require Reserve Reset Resolve
    Respond Restart Restore Restrict Resume Retire Retry Return Reuse Revalidate Revoke Roll Rotate Round Route Run
    Sample Save Say Scan Schedule Search Select Send Serialize Serve Set Share Show Shut Sign Silence Skip Sleep
    Snapshot Sort Split Spread Start State Stay Stop Store Stream Strip Subscribe Substitute Sum Summarize Supply
    Suspend Switch Synchronize Take Tell Terminate Test Throttle Time Track Translate Trim Truncate Trust Try Turn
    Unblock Undo Unlock Unpack Unquote Unregister Unsubscribe Update Upgrade Use Validate Verify Visit Wait Wake Walk
    Warn Watch Withdraw Wrap Write Yield
"""

#: Modules whose docstrings may still begin with a noun. Remove an entry once it is clean; never add one.
NOUNS_YET = ""

#: Modules beside the folders, by the beginning of their names.
MAX_MODULES = {"": 8, "controller.": 6}

LONGEST_MODULE, LONGEST_FUNCTION, MEDIAN_MODULE = 350, 50, 200

#: Lines of confd with the type Any, which checks nothing.
MAX_UNTYPED = 60


@frozen
class Module:
    """
    A module of C{confd}.

    @ivar name: dotted, without C{confd.} in front.
    """

    name: str
    source: str
    tree: ast.Module = field(init=False)

    @tree.default
    def _parse(self) -> ast.Module:
        return ast.parse(self.source)

    def among(self, names: str) -> bool:
        """Whether one of C{names}, in which C{*} stands for anything, is this module's."""
        return any(re.fullmatch(each.replace(".", r"\.").replace("*", ".*"), self.name) for each in names.split())

    def imports(self) -> Iterator[str]:
        """The full dotted names that it imports, anywhere in it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(module: Module) -> tuple[int, str]:
    """Floor and room of a module; the roots are named one by one and come first."""
    for floor, rooms in reversed(list(enumerate(FLOORS))):
        for room, names in rooms.items():
            if module.among(names):
                return floor, room
    raise AssertionError(f"confd.{module.name} is in no room: put it into FLOORS")


# -- the rules --


def imports_go_down(module: Module) -> list[str]:
    """Only from the same room, or from a floor below."""
    if module.name.endswith("__init__"):
        return []
    floor, room = place(module)
    wrong = []
    for imported in module.imports():
        if imported.startswith("confd.") and imported not in ("confd.__version__",):
            there, its_room = place(_imported(imported))
            if (there, its_room) != (floor, room) and there >= floor:
                wrong.append(f"{room} imports {imported} of {its_room}")
    return wrong


def _imported(name: str) -> Module:
    """The module that an import of C{name}, which may be one or something in one, reads."""
    parts = name.split(".")[1:]
    while len(parts) > 1 and not (
        (ROOT / "confd").joinpath(*parts).with_suffix(".py").is_file() or (ROOT / "confd").joinpath(*parts).is_dir()
    ):
        parts.pop()
    return Module(".".join(parts) + (".*" if (ROOT / "confd").joinpath(*parts).is_dir() else ""), "")


def libraries_have_owners(module: Module) -> list[str]:
    """A library that can be exchanged is known in one place."""
    return [
        f"imports {imported}, which is for {owner}"
        for imported in module.imports()
        for library, owner in OWNERS.items()
        if f"{imported}.".startswith(f"{library}.") and not module.among(owner)
    ]


def late_imports_are_listed(module: Module) -> list[str]:
    """Only listed modules, roots and the command line import inside functions."""
    if module.name in LATE or module.among(f"{COMPOSITION} cli.*"):
        return []
    return [
        f"{function.name} imports late (line {node.lineno}); list it in LATE"
        for function in ast.walk(module.tree)
        if isinstance(function, _FUNCTIONS)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]


def world_is_handed_in(module: Module) -> list[str]:
    """Reactor and environment are read by the composition roots alone, and by nobody while it is imported."""
    wrong = []
    if "twisted.internet.reactor" in [_dotted_import(node) for node in module.tree.body]:
        wrong.append("imports the reactor at module level")
    if not module.among(COMPOSITION):
        wrong += ["imports the reactor"] * ("twisted.internet.reactor" in module.imports())
        wrong += [f"line {node.lineno} reads os.environ" for node in _attributes(module, {"os.environ", "os.getenv"})]
        wrong += [f"imports {each}" for each in module.imports() if each in ("os.environ", "os.getenv")]
    return wrong


def _dotted_import(node: ast.stmt) -> str:
    return f"{node.module}.{node.names[0].name}" if isinstance(node, ast.ImportFrom) else ""


def clocks_are_handed_in(module: Module) -> list[str]:
    """No logic asks for the time of day, and nothing sleeps."""
    banned = {"time.time", "time.sleep", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    wrong = [f"line {node.lineno} asks a clock" for node in _attributes(module, banned)]
    wrong += [f"imports {each}" for each in module.imports() if each in banned]
    return [] if module.among("runtime.daemon cli.main") else wrong


def _attributes(module: Module, names: set[str]) -> list[ast.Attribute]:
    return [
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and any(ast.unparse(node).endswith(name) for name in names)
    ]


def docstrings_everywhere(module: Module) -> list[str]:
    """
    On each module, class, function and method that is public; that of a function begins with a verb and an object.

    Overrides, callbacks and properties of one line need none: their names, or the interface, say enough.
    """
    wrong = docstrings(module)
    return [each for each in wrong if NO_VERB not in each] if module.among(NOUNS_YET) else wrong


def docstrings(module: Module) -> list[str]:
    """Return what is wrong with the docstrings of a module."""
    wrong = [] if ast.get_docstring(module.tree) else ["has no docstring"]
    scopes: list[ast.Module | ast.ClassDef] = [module.tree]
    while scopes:
        scope = scopes.pop()
        for node in scope.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                scopes.append(node)
                if not ast.get_docstring(node):
                    wrong.append(f"{node.name} (line {node.lineno}) has no docstring")
            elif isinstance(node, _FUNCTIONS) and (problem := _docstring_problem(node, scope)):
                wrong.append(f"{node.name} (line {node.lineno}) {problem}")
    return wrong


NO_VERB = "has a docstring that does not begin with a verb and an object"

_PROPERTIES = {"property", "cached_property", "functools.cached_property"}


def _docstring_problem(function: ast.FunctionDef | ast.AsyncFunctionDef, scope: ast.Module | ast.ClassDef) -> str:
    """Return what is wrong with the docstring of a function, empty if nothing is."""
    decorators = {ast.unparse(each).partition("(")[0] for each in function.decorator_list}
    if (ast.get_docstring(function) or "").startswith("See L{"):
        return "has a docstring that only names another one"
    if function.name.startswith("_") or "overload" in decorators or _is_override(function.name, decorators, scope):
        return ""
    docstring, is_property = ast.get_docstring(function), bool(_PROPERTIES & decorators)
    if docstring is None:
        return "" if is_property and len(function.body) == 1 else "has no docstring"
    first, *rest = docstring.partition("\n\n")[0].split()
    return "" if is_property or (first.strip(",") in VERBS.split() and rest) else NO_VERB


def _is_override(name: str, decorators: set[str], scope: ast.Module | ast.ClassDef) -> bool:
    """Tell a method that a base class, an interface, Twisted or zope declares; only the last two use camelCase."""
    if re.match("[a-z]+[A-Z]", name):
        return True
    if isinstance(scope, ast.Module):
        return False
    declared = {each for base in _bases(scope) for each in _methods(base)}
    for each in scope.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "implementer":
            interfaces = {ast.unparse(interface).split(".")[-1] for interface in each.args}
            if interfaces - _classes().keys():
                # Twisted or zope declares this interface.
                return True
            declared |= {known for interface in interfaces for known in _methods(interface)}
    return "override" in decorators or name in declared


@cache
def _classes() -> dict[str, ast.ClassDef]:
    """Return the classes of confd by name."""
    found = [node for module in modules("confd") for node in ast.walk(module.tree)]
    return {node.name: node for node in found if isinstance(node, ast.ClassDef)}


def _methods(name: str) -> set[str]:
    """Return the names of the methods and attributes that a class of confd, or a base class of it, declares."""
    found: set[str] = set()
    names, seen = [name], set[str]()
    while names:
        name = names.pop()
        # A class may carry the name of the class of a library that it derives from.
        if name in _classes() and name not in seen:
            seen.add(name)
            names += _bases(_classes()[name])
            body = _classes()[name].body
            found |= {each.name for each in body if isinstance(each, _FUNCTIONS)}
            found |= {ast.unparse(each.targets[0]) for each in body if isinstance(each, ast.Assign)}
    return found


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _bases(node: ast.ClassDef) -> list[str]:
    """Return the names of the base classes, without modules and type arguments."""
    return [ast.unparse(base).partition("[")[0].split(".")[-1] for base in node.bases]


def sizes_are_bounded(module: Module) -> list[str]:
    """A module fits on a few screens, a function on one; C{compose} lists all parts, one a line."""
    length = module.source.count("\n")
    wrong = [f"has {length} lines"] if length > LONGEST_MODULE else []
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            # A class inside is no part of it: suites of contract tests are made that way.
            inner = [each for each in node.body if isinstance(each, ast.ClassDef)]
            lines = node.end_lineno - node.lineno + 1 - sum((each.end_lineno or 0) - each.lineno for each in inner)
            if lines > LONGEST_FUNCTION and node.name != "compose":
                wrong.append(f"{node.name} has {lines} lines")
    return wrong


def drop_ins_name_only(module: Module) -> list[str]:
    """Looking for plug-ins must import nothing, or the wrong reactor is installed before anyone chose one."""
    makers = ("StrategyMaker", "OutputMaker")
    allowed = ("twisted.application.service.ServiceMaker", *(f"confd.agent.plugin.{each}" for each in makers))
    return [f"imports {each}" for each in module.imports() if each not in allowed]


def tests_patch_nothing(module: Module) -> list[str]:
    """Tests hand in fakes, and take out no insides."""
    return [f"imports {each}" for each in module.imports() if "mock" in each.split(".")]


def domain_is_below_the_api(module: Module) -> list[str]:
    """Only the composition root and the API itself import the API of the controller."""
    if not module.among("controller.*") or module.among("controller.api.* controller.composition"):
        return []
    return [f"imports {each}" for each in module.imports() if each.startswith("confd.controller.api.")]


def store_knows_contracts_only(module: Module) -> list[str]:
    """The stores import no part of the domain; they share its values and its contracts."""
    if not module.among("controller.store.*"):
        return []
    allowed = ("confd.controller.store.", "confd.controller.interfaces.")
    return [
        f"imports {each}"
        for each in module.imports()
        if each.startswith("confd.controller.") and not each.startswith(allowed)
    ]


def class_names_mean_one_thing(modules: Sequence[Module]) -> list[str]:
    """A class name belongs to one module; only the options of each twistd command are called C{Options}."""
    places: dict[str, list[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and not (node.name == "Options" and module.among("*.tap dev")):
                places.setdefault(node.name, []).append(module.name)
    return [f"{name} is in {' and '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1]


def folders_are_small(modules: Sequence[Module]) -> list[str]:
    """C{confd} and C{confd.controller} hold subjects; a module beside these folders is an exception."""
    counts = {
        prefix: sum(re.fullmatch(rf"{prefix}(?!__init__)\w+", module.name) is not None for module in modules)
        for prefix in MAX_MODULES
    }
    return [f"{prefix}* has {count} modules" for prefix, count in counts.items() if count > MAX_MODULES[prefix]]


def untyped_lines(module: Module) -> set[int]:
    """The lines that name the type Any."""
    return {node.lineno for node in ast.walk(module.tree) if isinstance(node, ast.Name) and node.id == "Any"}


# -- what they are held against --


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Return each module below a folder of the repository; the rules share its syntax tree."""
    base = ROOT / folder
    return tuple(
        Module(".".join(path.relative_to(base).with_suffix("").parts), path.read_text("utf-8"))
        for path in sorted(base.rglob("*.py"))
        if "__pycache__" not in path.parts
    )


class ArchitectureTests(SynchronousTestCase):
    """The rules, held against confd."""

    def _hold(self, rule, them):
        self.assertTrue(them)
        self.assertEqual([f"{module.name} {wrong}" for module in them for wrong in rule(module)], [])

    def test_imports(self):
        """Imports go down only."""
        self._hold(imports_go_down, modules("confd"))

    def test_domain(self):
        """The domain of the controller imports no part of the API."""
        self._hold(domain_is_below_the_api, modules("confd"))

    def test_store(self):
        """The stores import no part of the domain."""
        self._hold(store_knows_contracts_only, modules("confd"))

    def test_class_names(self):
        """A class name means one thing."""
        self.assertEqual(class_names_mean_one_thing(modules("confd")), [])

    def test_folders(self):
        """Few modules are beside the folders."""
        self.assertEqual(folders_are_small(modules("confd")), [])

    def test_types(self):
        """Few lines are untyped."""
        self.assertLess(sum(len(untyped_lines(module)) for module in modules("confd")), MAX_UNTYPED)

    def test_libraries(self):
        """Each library has an owner."""
        self._hold(libraries_have_owners, modules("confd"))

    def test_late_imports(self):
        """Late imports are in one list, which names nothing else."""
        self._hold(late_imports_are_listed, modules("confd"))
        late = {each.name for each in modules("confd") if late_imports_are_listed(Module("x", each.source))}
        self.assertEqual(LATE.keys() - late, set())

    def test_world(self):
        """Reactor and environment are handed in."""
        self._hold(world_is_handed_in, modules("confd"))

    def test_clocks(self):
        """Clocks are handed in."""
        self._hold(clocks_are_handed_in, modules("confd"))

    def test_docstrings(self):
        """Everything public says what it is for."""
        self._hold(docstrings_everywhere, modules("confd"))

    def test_sizes(self):
        """Nothing is too long, and the median module is short."""
        self._hold(sizes_are_bounded, modules("confd"))
        lengths = [count for module in modules("confd") if (count := module.source.count("\n")) > 1]
        self.assertLess(median(lengths), MEDIAN_MODULE)

    def test_drop_ins(self):
        """Drop-ins hold names."""
        self._hold(drop_ins_name_only, modules("twisted"))
        self.assertFalse(list((ROOT / "twisted").rglob("__init__.py")), "a package would hide those of others")

    def test_tests(self):
        """Tests patch nothing."""
        self._hold(tests_patch_nothing, modules("tests"))


_FUNCTION = '"""A."""\ndef f():\n    """%s"""'
_METHOD = '"""A."""\nclass C%s:\n    """B."""\n    def %s(self): ...'
_IMPLEMENTS = '"""A."""\n@implementer(IConfigStore)\nclass C:\n    """B."""\n    def %s(self): ...'
_PROPERTY = '"""A."""\nclass C:\n    """B."""\n    @property\n    def p(self):\n        %s'


class RuleTests(SynchronousTestCase):
    """Each rule sees what breaks it, and nothing in what does not."""

    def test_rules(self):
        """A bad and a good snippet for each."""
        long_function = "def f():\n" + "        pass\n" * 50
        for rule, name, bad, good in (
            (imports_go_down, "model", "from confd.agent.version_guard import VersionGuard", "import attrs"),
            (imports_go_down, "codec.sse", "from confd.client.worker import WorkerClient", "from confd import model"),
            (imports_go_down, "web.api.routes", "import confd.client.http", "from confd.web.auth.basic import allow"),
            (imports_go_down, "client.http", "from confd.web.server import site", "from confd.client.body import Body"),
            (imports_go_down, "agent.receiver", "import confd.worker.api", "import confd.web.health"),
            (imports_go_down, "controller.configs.diff", "from confd.runtime import settings", "import confd.model"),
            (imports_go_down, "controller.metrics", "def f():\n    import confd.agent", "import confd.client.http"),
            (imports_go_down, "worker.api", "from confd.worker.tap import Options", "from confd.worker import current"),
            (domain_is_below_the_api, "controller.metrics", "from confd.controller.api import agents", "import attrs"),
            (domain_is_below_the_api, "controller.streams.x", "import confd.controller.api.x", "import confd.web"),
            (store_knows_contracts_only, "controller.store.x", "import confd.controller.feed", "import confd.model"),
            (libraries_have_owners, "agent.version_guard", "import klein", "import json"),
            (libraries_have_owners, "client.worker", "from klein.resource import KleinResource", "import kleins"),
            (libraries_have_owners, "controller.metrics", "from klein import Klein", "from confd.web import endpoint"),
            (libraries_have_owners, "agent.cache", "import asyncio.events", "import asyncore"),
            (libraries_have_owners, "brokers.redis.broker", "from nats.aio import client", "import random"),
            (libraries_have_owners, "web.server.site", "from twisted.enterprise import adbapi", "import twisted.web"),
            (late_imports_are_listed, "agent.cache", "async def f():\n    import json", "import json"),
            (world_is_handed_in, "runtime.daemon", "from twisted.internet import reactor", "import os\nos.environ"),
            (world_is_handed_in, "agent.cache", "def f():\n    from twisted.internet import reactor", "reactor = 1"),
            (world_is_handed_in, "agent.cache", "import os\nos.environ['A']", "import os\nos.path"),
            (world_is_handed_in, "codec.headers", "from os import environ", "environ = {}"),
            (clocks_are_handed_in, "agent.cache", "import time\ntime.time()", "import time\ntime.monotonic()"),
            (clocks_are_handed_in, "agent.cache", "from time import sleep", "from time import monotonic"),
            (clocks_are_handed_in, "audit", "import datetime\ndatetime.datetime.now()", "def f(now):\n    now()"),
            (docstrings_everywhere, "x", _FUNCTION % "The tag.", _FUNCTION % "Return the tag."),
            (docstrings_everywhere, "x", _FUNCTION % "Return.", _FUNCTION % "Stop, and flush the log."),
            (docstrings_everywhere, "x", _METHOD % ("", "line_received"), _METHOD % ("", "lineReceived")),
            (docstrings_everywhere, "x", _METHOD % ("(Protocol)", "stop"), _METHOD % ("(SqliteStore)", "publish")),
            (docstrings_everywhere, "x", _IMPLEMENTS % "hits", _IMPLEMENTS % "publish"),
            (docstrings_everywhere, "x", _PROPERTY % "1\n        return 2", _PROPERTY % "return 1"),
            (docstrings_everywhere, "x", '"""A."""\ndef f():\n    pass', '"""A."""\ndef _f():\n    pass'),
            (docstrings_everywhere, "x", '"""A."""\nclass C:\n    """B."""\n    def m(self): ...', '"""A."""'),
            (docstrings_everywhere, "x", "", '"""A."""\nclass C:\n    """B."""\n    def _m(self): ...'),
            (sizes_are_bounded, "x", "\n" * 351, "\n" * 350),
            (sizes_are_bounded, "x", long_function, long_function[:-13]),
            (sizes_are_bounded, "x", long_function, long_function.replace("def f", "def compose")),
            (sizes_are_bounded, "x", "async " + long_function, "def f():\n  class C:\n" + "    pass\n" * 50),
            (drop_ins_name_only, "plugins.x", "import klein", "from confd.agent.plugin import StrategyMaker"),
            (tests_patch_nothing, "x", "from unittest import mock", "import unittest"),
            (tests_patch_nothing, "x", "from unittest.mock import patch", "from tests.fakes import mockery"),
        ):  # fmt: skip
            with self.subTest(rule=rule.__name__, bad=bad[:60]):
                self.assertTrue(rule(Module(name, bad)))
                self.assertEqual(rule(Module(name, good)), [])

    def test_types(self):
        """Each line with the type Any is found."""
        source = "from typing import Any\nx: Any\ndef f(a: Any, b: list[Any]) -> Anything: ...\n# Any"
        self.assertEqual(untyped_lines(Module("x", source)), {2, 3})

    def test_class_names(self):
        """A name of two modules is found, except the options of commands."""
        names = ("agent.tap", "worker.tap", "agent.plugin", "worker.api")
        sources = [Module(name, "class Options: ...\nclass Tag: ...") for name in names]
        self.assertEqual(
            class_names_mean_one_thing(sources),
            ["Options is in agent.plugin and worker.api", f"Tag is in {' and '.join(names)}"],
        )

    def test_folders(self):
        """A ninth module beside the folders is found."""
        names = ["__init__", "codec.sse", *(f"m{number}" for number in range(8))]
        self.assertEqual(folders_are_small([Module(name, "") for name in names]), [])
        self.assertEqual(folders_are_small([Module(name, "") for name in [*names, "m8"]]), ["* has 9 modules"])

    def test_places(self):
        """A module that belongs nowhere is an error, not an exception to the rule."""
        self.assertRaises(AssertionError, place, Module("attic", ""))
        self.assertEqual(place(Module("agent.tap", ""))[1], "roots")
        self.assertEqual(place(Module("agent.strategies.poll_only", ""))[1], "agent")
