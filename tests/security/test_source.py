"""What the source never does, read off its syntax: nothing that was read is run, and nothing is pasted into SQL."""

from __future__ import annotations

import ast
from pathlib import Path

import fitprint

ROOT = Path(fitprint.__file__).parents[2]
# The contract is for tests, and pickles what it has made itself.
FILES = sorted({*(ROOT / "src").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")} - {ROOT / "src/fitprint/contract.py"})
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

# Modules whose readers run what they read, and calls that do.
RUNNERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml", "xmlrpc", "xml"}
RUNNING = {"eval", "exec", "compile", "__import__", "execfile"}
# A constant, which raises an error.
ALLOWED = {"src/fitprint/status.py": ['exec("raise KeyboardInterrupt")']}
# Attributes of a module that load a pickle or run a shell.
LOADING = {("torch", "load"), ("numpy", "load"), ("np", "load"), ("pd", "read_pickle"), ("pandas", "read_pickle"), ("os", "system")}
LISTENING = {"http.server", "socketserver", "wsgiref", "xmlrpc.server"}
# What sends an SQL statement, and the sources of text that may stand in one: names written in capitals are
# constants of a module, the others are listed with the function in which they hold constants alone.
SENDING = {"execute", "executemany", "executescript"}
CHECKED = {
    # The length of a tuple; PRAGMA takes no parameter.
    "src/fitprint/ledger/database.py": ["set_version: version"],
    # A constant with the column of a unit, out of a constant mapping.
    "src/fitprint/ledger/pot.py": [f"{name}: self._charges" for name in ("charges", "_others", "_is_charged", "_known")],
    # Columns of our own tables alone, as is looked up before; and one of two conditions that stand in the module.
    "src/fitprint/ledger/store.py": [
        "_copy_run: ', '.join(names)",
        "_copy_run: ', '.join((f':{name}' for name in names))",
        "_rows: which",
    ],
}


def imported(parsed):
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def calls(parsed):
    return [node for node in ast.walk(parsed) if isinstance(node, ast.Call)]


def everywhere(found):
    """What a function finds in each file that has any of it."""
    return {name: what for name, parsed in TREES.items() if (what := found(parsed))}


def test_nothing_that_was_read_is_run():
    def running(parsed):
        functions = [call.func for call in calls(parsed)]
        plain = {function.id for function in functions if isinstance(function, ast.Name)}
        of_modules = {
            (function.value.id, function.attr)
            for function in functions
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
        }
        return {module.partition(".")[0] for module in imported(parsed)} & RUNNERS | plain & RUNNING | of_modules & LOADING

    found = everywhere(running)
    assert found == {name: {"exec"} for name in ALLOWED}
    texts = {name: [ast.unparse(call) for call in calls(TREES[name]) if ast.unparse(call.func) in RUNNING] for name in found}
    assert texts == {name: [ast.unparse(ast.parse(text)) for text in allowed] for name, allowed in ALLOWED.items()}


def test_no_command_goes_through_a_shell():
    def through_a_shell(parsed):
        return [keyword for call in calls(parsed) for keyword in call.keywords if keyword.arg == "shell"]

    assert everywhere(through_a_shell) == {}


def test_nothing_listens():
    def listening(parsed):
        methods = {call.func.attr for call in calls(parsed) if isinstance(call.func, ast.Attribute)}
        return set(imported(parsed)) & LISTENING | methods & {"listen", "serve_forever"}

    assert everywhere(listening) == {}


# ---- SQL


def pasted(node):
    """The expressions that are pasted into a text, however it is put together."""
    if isinstance(node, ast.JoinedStr):
        return [value.value for value in node.values if isinstance(value, ast.FormattedValue)]
    if isinstance(node, ast.BinOp):
        sides = (node.left, node.right)
        return [found for side in sides for found in (pasted(side) if isinstance(side, ast.JoinedStr | ast.BinOp) else [side])]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "replace"):
        return [node]
    return []


def statements(function):
    """What a function sends: the first arguments of its calls, and what was assigned to the names among them."""
    given = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    for call in calls(function):
        if isinstance(call.func, ast.Attribute) and call.func.attr in SENDING and call.args:
            first = call.args[0]
            yield from given.get(first.id, []) if isinstance(first, ast.Name) else [first]


def bound(function):
    """Names that stand for something constant inside a function: loops over constants, tuples of constants, lists of columns."""
    constant = set()
    for node in ast.walk(function):
        if isinstance(node, ast.comprehension | ast.For) and isinstance(node.target, ast.Name) and is_constant(node.iter, constant):
            constant.add(node.target.id)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and is_constant(node.value, constant):
            constant.add(node.targets[0].id)
    return constant


def is_constant(node, constant):
    """Whether an expression is made of constants, of constants of the module, and of what ``bound`` found, alone."""
    if isinstance(node, ast.Name):
        return node.id.isupper() or node.id in constant
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Tuple | ast.List):
        return all(is_constant(item, constant) for item in node.elts)
    if isinstance(node, ast.Attribute):
        return node.attr == "locking"  # an attribute of the class of a database
    if isinstance(node, ast.JoinedStr):
        return all(is_constant(item, constant) for item in pasted(node))
    if isinstance(node, ast.GeneratorExp):
        inner = constant | {part.target.id for part in node.generators if is_constant(part.iter, constant)}
        return is_constant(node.elt, inner)
    if isinstance(node, ast.Call):  # ", ".join(...)
        joins = isinstance(node.func, ast.Attribute) and node.func.attr == "join" and is_constant(node.func.value, constant)
        return joins and is_constant(node.args[0], constant)
    return False


def pasted_values(parsed):
    found = []
    for function in ast.walk(parsed):
        if isinstance(function, ast.FunctionDef):
            constant = bound(function)
            values = [value for statement in statements(function) for value in pasted(statement)]
            found += [f"{function.name}: {ast.unparse(value)}" for value in values if not is_constant(value, constant)]
    return found


def test_values_reach_a_database_as_parameters_only():
    assert everywhere(pasted_values) == CHECKED


def test_what_is_looked_for_would_be_found():
    sent = ast.parse(
        "def bad(db, name):\n"
        "    query = f'SELECT * FROM runs WHERE name = {name}'\n"
        "    db.execute(query)\n"
        "    db.execute('SELECT ' + name)\n"
        "    db.execute('SELECT {}'.format(name))\n"
        "def good(db, name):\n"
        "    db.execute(f'SELECT {\", \".join(COLUMNS)} FROM runs WHERE name = :name', name=name)\n"
    )
    bad, good = sent.body
    values = {
        function.name: [v for s in statements(function) for v in pasted(s) if not is_constant(v, bound(function))]
        for function in (bad, good)
    }
    assert (len(values["bad"]), values["good"]) == (3, [])
