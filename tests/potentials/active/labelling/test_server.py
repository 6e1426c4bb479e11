"""The process that computes: held between frames, ended where it hangs, begun anew where it dies, no orphan."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import matgraft
from matgraft.core.errors import OptionError
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.messages import arrays_of, tags_of
from matgraft.potentials.active.labelling.server import Server, Task, close_server, label_one


def a_frame(how):
    """Two atoms in a box; what happens to them, the first one's x says."""
    return Atoms("Si2", [[how, 0.1, 0.2], [5.0, 0.3, 0.4]], cell=[12, 12, 12], pbc=True)


def engine(**changed):
    return Engine(calculator="fickle:make", **changed)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_every_fault_is_a_reason_and_the_next_frame_is_computed(here):
    """One server meets them all; between them it answers as if nothing had been."""
    with Server(engine(timeout=3, parameters={"side": ""}), here / "work", str(here)) as server:
        assert set(server.quantities) == {"energy", "forces", "stress"}
        pids = set()

        def sound():
            began = time.monotonic()
            answer, label = server.ask(a_frame(0.25))
            assert not answer.failed and label["forces"].shape == (2, 3) and label["stress"].shape == (3, 3)
            assert float(label["energy"]) == pytest.approx(0.5 * (0.25**2 + 0.1**2 + 0.2**2 + 25 + 0.3**2 + 0.4**2))
            pids.add(server._process.pid)
            return time.monotonic() - began

        sound()
        for how, told in [
            (3, "ValueError: no such thing"),
            (4, "its energy: not finite"),
            (5, "a force of"),
            (6, "it gave no stress"),
            (7, "has the shape"),
        ]:
            answer, label = server.ask(a_frame(how))
            assert told in answer.failed and not label, how
            sound()
        assert len(pids) == 1, "an error of a calculator costs no new process"
        hung, began = server._process.pid, time.monotonic()
        answer, _ = server.ask(a_frame(1))
        assert "timeout of 3 s" in answer.failed and time.monotonic() - began < 30 and gone(hung)
        sound()
        answer, _ = server.ask(a_frame(2))
        assert "SIGSEGV" in answer.failed and "ouch" in answer.failed
        sound()
        os.kill(server._process.pid, signal.SIGKILL)
        answer, _ = server.ask(a_frame(0.25))
        assert "SIGKILL" in answer.failed
        sound()
        last = server._process.pid
    assert gone(last) and not (here / "work").exists()


@pytest.mark.parametrize(
    ("calculator", "parameters", "told"),
    [
        ("fickle:broken", {}, "no licence"),
        ("fickle:nothing", {}, "not an ASE calculator"),
        ("fickle:none_such", {}, "none_such"),
        ("fickle:make", {"sprung": 1}, "sprung"),
    ],
)
def test_a_calculator_that_cannot_be_made_is_refused(here, calculator, parameters, told):
    with pytest.raises(OptionError, match="cannot be made") as caught:
        Server(Engine(calculator=calculator, parameters=parameters), here / "work", str(here))
    assert told in str(caught.value) and not (here / "work").exists()


def test_keywords_reach_the_function(here):
    with Server(engine(parameters={"spring": 3.0}), here / "work", str(here)) as server:
        _, label = server.ask(a_frame(0.25))
    np.testing.assert_allclose(label["forces"][0], [-0.75, -0.3, -0.6])


def test_tries_are_told_and_a_second_one_may_do(here):
    side = str(here / "side.txt")
    given = engine(parameters={"side": side}, retries=1)
    tasks = [
        Task(given, "k", arrays_of(a_frame(how)), tags_of(a_frame(how)), str(here / "work"), str(here))
        for how in (9, 3)
    ]
    try:
        once, never = map(label_one, tasks)
    finally:
        close_server()
    assert once.label is not None and len(once.tries) == 1 and "exit code 7" in once.tries[0].reason
    assert never.label is None and [one.reason for one in never.tries] == ["ValueError: no such thing"] * 2


def test_a_killed_parent_takes_the_process_and_its_program_along(here):
    """The one that asks dies in the midst of a calculation; no program goes on computing for nobody."""
    (here / "runs.py").write_text(
        textwrap.dedent("""
            import subprocess, sys
            from ase.calculators.lj import LennardJones
            class Long(LennardJones):
                def calculate(self, *words, **keywords):
                    open("pids.txt", "w").close()
                    child = subprocess.Popen(["sleep", "1000"])
                    open(r"%s", "w").write(f"{child.pid}")
                    child.wait()
            def make():
                return Long()
        """)
        % (here / "program.pid")
    )
    code = textwrap.dedent(f"""
        from ase import Atoms
        from pathlib import Path
        from matgraft.potentials.active.labelling.engine import Engine
        from matgraft.potentials.active.labelling.server import Server
        server = Server(Engine(calculator="runs:make"), Path({str(here / "work")!r}), {str(here)!r})
        print(server._process.pid, flush=True)
        server.ask(Atoms("Ar2", [[0, 0, 0], [0, 0, 4]]))
    """)
    environment = os.environ | {"PYTHONPATH": str(Path(matgraft.__file__).parents[1])}
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True)
    computing = int(driver.stdout.readline())
    until = time.monotonic() + 60
    while not ((here / "program.pid").exists() and (here / "program.pid").read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
    program = int((here / "program.pid").read_text())
    assert alive(program) and alive(computing)
    driver.kill()
    driver.communicate()
    assert gone(computing) and gone(program)


@pytest.mark.parametrize("launcher", ["stays", "leaves"])
def test_a_program_in_a_session_of_its_own_is_ended_too(here, launcher):
    """As launchers of parallel programs begin them; whether the launcher waits for it or is gone."""
    (here / "launched.py").write_text(
        textwrap.dedent(f"""
            import subprocess, sys, time
            from ase.calculators.lj import LennardJones
            CODE = '''
            import subprocess
            program = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            open({str(here / "program.pid")!r}, "w").write(str(program.pid))
            {"program.wait()" if launcher == "stays" else ""}
            '''
            class Launching(LennardJones):
                def calculate(self, *words, **keywords):
                    subprocess.run([sys.executable, "-c", CODE], check=True)
                    time.sleep(1000)
            def make():
                return Launching()
        """)
    )
    with Server(Engine(calculator="launched:make", timeout=5), here / "work", str(here)) as server:
        answer, _ = server.ask(a_frame(0.25))
    assert "ran past the timeout" in answer.failed
    assert gone(int((here / "program.pid").read_text()), 5)
