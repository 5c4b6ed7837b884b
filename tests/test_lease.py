"""Leases: who holds one, when it is stale, who wins where several take it over, and what a paused holder finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import lease as leases_module
from bench.lease import BEAT_S, STALE_S, Lease, LeaseLost, Leases, Owner, process_state, this_process

HOME = Path(__file__).resolve().parent.parent
ME = Owner("here", "boot-1", 100, "start-1")


class World:
    """Processes and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.processes: dict[int, tuple[str, str] | None] = {100: ("R", "start-1"), 200: ("S", "start-2")}

        self.made: list[Leases] = []

    def leases(self, me: Owner = ME) -> Leases:
        self.made.append(Leases(me, self.processes.get, lambda: self.now))
        return self.made[-1]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for leases in world.made:
        leases.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells" / "0123.lease"


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def taken(found: Lease | Owner) -> Lease:
    assert isinstance(found, Lease), found
    return found


def age(path: Path, seconds: float) -> None:
    changed = path.stat().st_mtime - seconds
    os.utime(path, (changed, changed))


def test_a_lease_says_who_holds_it_and_is_gone_after_its_block(world: World, path: Path) -> None:
    with world.leases() as one, world.leases(replace(ME, pid=200, started="start-2")) as other:
        with taken(one.take(path)) as held:
            stored = json.loads(path.read_text())
            assert stored == asdict(held.owner) == asdict(replace(ME, token=stored["token"]))
            holder = other.take(path)
            assert isinstance(holder, Owner)
            assert (str(holder), names(path)) == ("here, pid 100", ["0123.lease"])
            assert not other.is_free(path)
        assert names(path) == []
        assert other.is_free(path)
        taken(other.take(path))
    assert names(path) == [], "what is still held goes with the leases"


@pytest.mark.parametrize(
    ("holder", "gone"),
    [
        (replace(ME, pid=200, started="start-2"), False),
        (replace(ME, pid=300), True),  # there is no such process
        (replace(ME, pid=200, started="start-1"), True),  # another process has the number by now
        (replace(ME, pid=300, host="there"), False),
        (replace(ME, pid=300, boot="boot-2"), False),  # an earlier boot, or another container
        (replace(ME, pid=300, boot=""), False),
    ],
)
def test_on_the_same_host_and_boot_the_processes_decide_at_once(
    world: World, path: Path, holder: Owner, gone: bool
) -> None:
    taken(world.leases(holder).take(path))
    assert isinstance(world.leases().take(path), Lease) is gone


@pytest.mark.parametrize(("state", "gone"), [("R", False), ("D", False), ("T", False), ("Z", True)])
def test_a_process_that_runs_needs_no_sign_of_life_and_a_zombie_gives_none(
    world: World, path: Path, state: str, gone: bool
) -> None:
    taken(world.leases(replace(ME, pid=200, started="start-2")).take(path))
    world.processes[200] = (state, "start-2")
    assert isinstance(world.leases().take(path), Lease) is gone


@pytest.mark.parametrize("holder", [replace(ME, host="there"), replace(ME, pid=200, started="start-2")])
@pytest.mark.parametrize(("silent_s", "gone"), [(STALE_S - 5, False), (STALE_S + 5, True)])
def test_elsewhere_the_clock_of_the_folder_decides(
    world: World, path: Path, holder: Owner, silent_s: float, gone: bool
) -> None:
    """The second holder is a stopped process of this host."""
    world.processes[200] = ("T", "start-2")
    taken(world.leases(holder).take(path))
    age(path, silent_s)
    mine = world.leases()
    assert isinstance(mine.take(path), Owner), "one look does not tell a silent holder from a clock that was set"
    world.now += 2 * BEAT_S - 0.1
    assert isinstance(mine.take(path), Owner)
    world.now += 0.1
    assert isinstance(mine.take(path), Lease) is gone


def test_a_sign_of_life_between_two_looks_keeps_the_lease(world: World, path: Path) -> None:
    held = taken(world.leases(replace(ME, host="there")).take(path))
    age(path, 2 * STALE_S)
    mine = world.leases()
    assert isinstance(mine.take(path), Owner)
    held.beat()
    age(path, 1.5 * STALE_S)  # as if the clock of the folder had been set
    world.now += 10 * BEAT_S
    assert isinstance(mine.take(path), Owner)
    held.beat()
    world.now += 10 * BEAT_S
    assert isinstance(mine.take(path), Owner)
    assert time.time() - path.stat().st_mtime < STALE_S


def test_a_paused_holder_learns_of_its_loss_and_leaves_the_other_alone(world: World, path: Path) -> None:
    paused = taken(world.leases(replace(ME, pid=300)).take(path))
    new = taken(world.leases().take(path))
    assert len(names(path)) == 2
    paused.check()
    paused.beat()
    with pytest.raises(LeaseLost):
        paused.check()
    assert not paused.seal()
    paused.release()
    assert len(names(path)) == 2
    assert isinstance(world.leases(replace(ME, host="there")).take(path), Owner)
    assert new.seal()
    new.release()
    assert names(path) == []


def test_what_is_sealed_is_not_taken_over_while_its_holder_lives(world: World, path: Path) -> None:
    there = replace(ME, host="there")
    first, late = taken(world.leases(there).take(path)), world.leases()
    age(path, 2 * STALE_S)
    assert isinstance(late.take(path), Owner)
    assert first.seal() and first.seal()
    world.now += 10 * BEAT_S
    assert isinstance(late.take(path), Owner), "the seal is a sign of life"
    (seal,) = set(path.parent.iterdir()) - {path}
    age(seal, 2 * STALE_S)  # the holder dies before it writes
    assert isinstance(late.take(path), Owner)
    world.now += 10 * BEAT_S
    new = taken(late.take(path))
    first.release()  # it lived after all, and has written its record meanwhile
    assert not new.seal()
    new.release()
    assert names(path) == []


def test_who_looked_too_long_ago_begins_again(world: World, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look of one and its claim, another takes the lease over, gives it back, and a third takes it."""
    taken(world.leases(replace(ME, pid=300)).take(path))
    third: list[Lease] = []
    plain = leases_module._create

    def slow(place: Path, *rest: object) -> bool:
        if not third:
            third.append(Lease(path, ME, [], [], print))  # once only
            taken(world.leases().take(path)).release()
            third[0] = taken(world.leases(replace(ME, host="there")).take(path))
        return plain(place, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(leases_module, "_create", slow)
    assert world.leases().take(path) == third[0].owner
    assert names(path) == ["0123.lease"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', json.dumps(asdict(replace(ME, token="../x")))])
def test_an_unreadable_lease_is_somebodys_until_it_is_silent(world: World, path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    mine = world.leases()
    assert isinstance(mine.take(path), Owner)
    age(path, 2 * STALE_S)
    assert isinstance(mine.take(path), Owner)
    world.now += 2 * BEAT_S
    taken(mine.take(path)).release()
    assert names(path) == []


def test_who_looks_while_a_lease_is_being_written_learns_whose_it_is(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_text("")
    other = replace(ME, pid=200, started="start-2", token="a1")
    monkeypatch.setattr(time, "sleep", lambda seconds: path.write_text(json.dumps(asdict(other))))
    assert world.leases().take(path) == other


def test_a_writer_paused_inside_its_first_write_has_lost(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    winner: list[Lease] = []
    write = os.write

    def late(handle: int, text: bytes) -> int:
        if not winner:
            winner.append(Lease(path, ME, [], [], print))
            mine = world.leases()
            age(path, 2 * STALE_S)
            assert isinstance(mine.take(path), Owner)
            world.now += 2 * BEAT_S
            winner[0] = taken(mine.take(path))
        return write(handle, text)

    monkeypatch.setattr(os, "write", late)
    assert world.leases(replace(ME, host="there")).take(path) == winner[0].owner
    assert winner[0].seal()
    winner[0].release()
    assert names(path) == []


def test_a_chain_that_leads_to_itself_ends(world: World, path: Path) -> None:
    path.parent.mkdir()
    text = json.dumps(asdict(replace(ME, pid=300, token="aa")))
    path.write_text(text)
    path.with_name("0123.aa.lease").write_text(text)
    assert isinstance(world.leases().take(path), Owner)


def test_leases_of_the_dead_are_cleared(world: World, path: Path) -> None:
    taken(world.leases(replace(ME, pid=300)).take(path))
    taken(world.leases(replace(ME, pid=301)).take(path))
    taken(world.leases(replace(ME, host="there")).take(path.with_name("4567.lease")))
    path.with_name("89ab.cdef.lease").write_text("")  # killed while it gave its chain back
    path.with_name("0123.json").write_text("")
    world.leases().clear(path.parent)
    assert names(path) == ["0123.json", "4567.lease"]
    world.leases().clear(path.parent / "nothing")


def test_a_lease_that_cannot_be_written_leaves_nothing(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, text: bytes) -> int:
        raise OSError(28, "No space left on device")

    with world.leases() as leases, monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            leases.take(path)
        assert names(path) == []
    with world.leases() as leases:
        held = taken(leases.take(path))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            held.seal()
    assert names(path) == [], "a full disk keeps nobody from giving back"


def test_deleting_a_lease_by_hand_takes_it_from_its_holder(world: World, path: Path) -> None:
    held = taken(world.leases().take(path))
    path.unlink()
    new = taken(world.leases().take(path))
    assert not held.seal()
    held.release()
    assert names(path) == ["0123.lease"]
    assert new.seal()


def test_one_thread_keeps_all_leases_of_a_process_alive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "BEAT_S", 0.01)
    others = set(threading.enumerate())

    def hearts() -> int:
        return len([one for one in set(threading.enumerate()) - others if one.name == "leases"])

    with Leases() as leases:
        assert hearts() == 0
        held = [taken(leases.take(path.with_name(f"{n}.lease"))) for n in range(5)]
        assert hearts() == 1
        for lease in held:
            age(lease.path, 1000)
        wait_for(lambda: min(lease.path.stat().st_mtime for lease in held) > time.time() - 500)
    wait_for(lambda: hearts() == 0)


def test_of_many_threads_that_see_a_stale_lease_exactly_one_wins(world: World, path: Path) -> None:
    """Each holder is dead before the next round, so that chains of stale leases are taken over, too."""
    world.processes = {}
    for n_dead in range(12):
        results: list[Lease | Owner] = []
        barrier = threading.Barrier(8)

        def contend(pid: int, found: list[Lease | Owner] = results, start: threading.Barrier = barrier) -> None:
            world.processes[pid] = ("R", "s")
            leases = world.leases(replace(ME, pid=pid, started="s"))
            start.wait()
            found.append(leases.take(path))

        threads = [threading.Thread(target=contend, args=(n_dead * 100 + n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [lease for lease in results if isinstance(lease, Lease)]
        seen = {found.pid for found in results if isinstance(found, Owner)}
        assert seen <= {winner.owner.pid, 0}, "0: before the winner had written its name"
        if n_dead % 4 == 3:
            winner.release()
            assert names(path) == []
        del world.processes[winner.owner.pid]


CONTEND = """
import sys, time
from pathlib import Path
from bench.lease import Lease, Leases

folder, log, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with Leases() as leases:
    for n in range(rounds):
        done = folder / f"{n}.done"
        while not done.exists():
            found = leases.take(folder / f"{n}.lease")
            if isinstance(found, Lease):
                with found:
                    if not done.exists() and found.seal():
                        with log.open("a") as file:
                            file.write(f"{n}\\n")
                        done.touch()
"""


def test_of_many_processes_exactly_one_does_each_piece(tmp_path: Path) -> None:
    """Every piece begins under the lease of a dead process, and every process wants every piece."""
    rounds, dead = 60, replace(this_process(), pid=2**22 + 7)
    folder = tmp_path / "work"
    for n in range(rounds):
        taken(Leases(dead).take(folder / f"{n}.lease"))
    command = [sys.executable, "-c", CONTEND, str(folder), str(tmp_path / "log"), str(rounds)]
    processes = [subprocess.Popen(command, cwd=HOME) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(rounds))
    assert [file for file in folder.iterdir() if file.suffix != ".done"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process has started")
def test_processes_are_told_apart_by_the_system() -> None:
    me = this_process()
    assert me.boot and me.pid == os.getpid()
    assert process_state(me.pid) == (process_state(me.pid) or ("", ""))
    with subprocess.Popen(["sleep", "60"]) as child:
        wait_for(lambda: (process_state(child.pid) or ("", ""))[0] == "S")
        started = (process_state(child.pid) or ("", ""))[1]
        assert int(started) >= int(me.started)
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: process_state(child.pid) == ("T", started))
        child.kill()
        wait_for(lambda: process_state(child.pid) == ("Z", started))
    assert process_state(child.pid) is None


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
