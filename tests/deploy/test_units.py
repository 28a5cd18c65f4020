"""The systemd units: valid, confined, and naming only settings and files that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.setting import settings_of
from confd.runtime.settings import AgentSettings, ControllerSettings, WorkerSettings, all_roles

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"

SERVICES = {"controller": ControllerSettings, "agent": AgentSettings, "worker": WorkerSettings}

#: What Python itself reads.
PYTHONS_OWN = {"PYTHONFAULTHANDLER"}

#: Exposure that C{systemd-analyze security} may find, of 10.
EXPOSURE = 1.5
EXPOSURE_WITH_FILES = 2.0

_MISSING = None if shutil.which("systemd-analyze") else "there is no systemd-analyze here"


class UnitTests(SynchronousTestCase):
    """C{deploy/systemd}."""

    def unit(self, role: str) -> Path:
        """The unit of a role, with the program that is installed here instead of the one in /opt."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        for file in UNITS.iterdir():
            if file.is_file():
                (folder / file.name).write_text(with_programs_of_here(file.read_text()))
        return folder / f"confd-{role}.service"

    def agent_with_files(self) -> Path:
        """Return the unit of the agent with the drop-in for FILE outputs."""
        unit = self.unit("agent")
        drop_in = unit.with_name("confd-agent.service.d")
        drop_in.mkdir()
        shutil.copy(UNITS / "confd-agent.service.d/files.conf", drop_in)
        return unit

    def analyze(self, *arguments: str) -> str:
        """What systemd-analyze says."""
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
        return done.stdout + done.stderr

    def test_valid(self) -> None:
        for role in SERVICES:
            unit = self.unit(role)
            said = [line for line in self.analyze("verify", str(unit)).splitlines() if "confd" in line]
            self.assertEqual(said, [], role)

    def test_files_valid(self) -> None:
        """systemd accepts the drop-in for FILE outputs and the units that reload a program for the agent."""
        unit = self.agent_with_files()
        for name in (unit.name, "confd-reload-nginx.path", "confd-reload-nginx.service"):
            said = self.analyze("verify", str(unit.with_name(name))).splitlines()
            self.assertEqual([line for line in said if "confd" in line], [], name)

    def test_files_confined(self) -> None:
        """The drop-in gives the agent little more than its files."""
        unit = self.agent_with_files()
        said = self.analyze("security", "--offline=true", str(unit))
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert found is not None, said
        self.assertLessEqual(float(found[1]), EXPOSURE_WITH_FILES)
        self.assertGreater(float(found[1]), 0)

    def test_confined(self) -> None:
        for role in SERVICES:
            said = self.analyze("security", "--offline=true", str(self.unit(role)))
            found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
            assert found is not None, said
            self.assertLessEqual(float(found[1]), EXPOSURE, role)

    test_files_valid.skip = test_files_confined.skip = _MISSING  # type: ignore[attr-defined]
    test_valid.skip = test_confined.skip = _MISSING  # type: ignore[attr-defined]

    def test_settings_exist(self) -> None:
        """Each variable that a unit or an example sets is one of that role, or the file of a secret of it."""
        for role, settings in SERVICES.items():
            known = {each.name for each in settings_of(settings)} | {each.file_name for each in settings_of(settings)}
            unit = (UNITS / f"confd-{role}.service").read_text()
            example = (UNITS.parent / "etc" / f"{role}.env").read_text()
            named = re.findall(r"^Environment=(\w+)=", unit, re.M) + re.findall(r"^#?(\w+)=", example, re.M)
            self.assertEqual(set(named) - known - PYTHONS_OWN, set(), role)
            self.assertTrue(named)

    def test_roles_are_complete(self) -> None:
        """All but the one for a first try."""
        self.assertEqual({*SERVICES.values()}, {each for each in all_roles() if "Dev" not in each.__name__})

    def test_reload_unit_has_rights(self) -> None:
        """The polkit rule, the drop-in and the agent name the same user and the same verb."""
        rule = (UNITS.parent / "polkit/confd-agent.rules").read_text()
        user = re.search(r"^User=(\w+)$", (UNITS / "confd-agent.service.d/files.conf").read_text(), re.M)
        assert user is not None
        self.assertIn(f'subject.user === "{user[1]}"', rule)
        self.assertIn('action.lookup("verb") === "reload-or-restart"', rule)


def with_programs_of_here(text: str) -> str:
    """Return a unit that starts the twistd that is installed here."""
    return text.replace("/opt/confd/bin/twistd", str(Path(sys.executable).with_name("twistd")))
