"""Tests of C{confd.agent.outputs.factories} and of the settings of a file: every mistake of a start."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.factories import Plan, read_plan
from confd.errors import StartError
from confd.interfaces import Action
from confd.runtime import options
from confd.runtime.settings import AgentSettings


class PlanTests(SynchronousTestCase):
    """What the settings mean, and what is wrong with them."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o755)
        self.program = self.folder / "x"
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)
        self.path = str(self.folder / "app.json")

    def plan(self, **environ: str) -> Plan:
        return read_plan(options.read(AgentSettings, {}, environ), {"PATH": f"{self.folder}:/usr/bin:/bin"})

    def mistakes(self, **environ: str) -> list[str]:
        return list(self.assertRaises(StartError, self.plan, **environ).reasons)

    def file(self, **environ: str) -> dict[str, str]:
        return {"OUTPUTS": "FILE", "FILE_PATH": self.path, **{f"FILE_{name}": value for name, value in environ.items()}}

    def toml(self, text: str) -> dict[str, str]:
        path = self.folder / "outputs.toml"
        path.write_text(text)
        path.chmod(0o644)
        return {"OUTPUTS": "FILE", "OUTPUTS_FILE": str(path)}

    def test_the_worker_is_the_default(self) -> None:
        plan = self.plan()
        self.assertEqual((plan.files, plan.http, plan.plugins), ([], True, []))

    def test_one_file(self) -> None:
        (spec,) = self.plan(**self.file(CHECK="x '{path}'", RELOAD="systemd:nginx.service", MODE="0644")).files
        self.assertEqual((spec.name, spec.path, spec.format, spec.mode), ("app-json", self.path, "json", 0o644))
        self.assertEqual(spec.check, Action("command", (str(self.program), "{path}")))
        self.assertEqual(spec.reload, Action("systemd", ("nginx.service",)))

    def test_actions(self) -> None:
        for text, action in (
            ("http://127.0.0.1:9090/-/reload", Action("http", ("http://127.0.0.1:9090/-/reload",))),
            ("http://[::1]:1/", Action("http", ("http://[::1]:1/",))),
            ("signal:HUP:/run/x.pid", Action("signal", ("HUP", "/run/x.pid"))),
            ("signal:SIGUSR1:/run/x.pid", Action("signal", ("USR1", "/run/x.pid"))),
            (f"{self.program} -s reload", Action("command", (str(self.program), "-s", "reload"))),
        ):
            self.assertEqual(self.plan(**self.file(RELOAD=text)).files[0].reload, action)

    def test_mistakes_of_one_file(self) -> None:
        link = self.folder / "link.json"
        link.symlink_to("/etc/passwd")
        fifo = self.folder / "fifo.json"
        os.mkfifo(fifo)
        loose = self.folder / "loose"
        loose.write_text("#!/bin/sh\n")
        loose.chmod(0o777)
        for fields, sentence in (
            ({"PATH": ""}, "FILE_PATH: is not set; name the file to write."),
            ({"PATH": "a.json"}, "FILE_PATH: 'a.json' is not the absolute path of a file."),
            ({"PATH": "/nowhere/a.json"}, "FILE_PATH: the folder /nowhere does not exist."),
            ({"PATH": str(link)}, f"FILE_PATH: {link} is not a regular file; name the file itself."),
            ({"PATH": str(fifo)}, f"FILE_PATH: {fifo} is not a regular file; name the file itself."),
            ({"PATH": "/etc/"}, "FILE_PATH: '/etc/' is not the absolute path of a file."),
            ({"CHECK": "x"}, "FILE_CHECK: has no {path}; the check would not see the new file."
             " Use FILE_TEST for a check in place."),
            ({"RELOAD": "/usr/sbin/nowhere"}, "FILE_RELOAD: /usr/sbin/nowhere is not an executable file."),
            ({"RELOAD": "nowhere now"}, "FILE_RELOAD: nowhere is not an executable file."),
            ({"TEST": str(loose)}, f"FILE_TEST: {loose} can be changed by others; its owner must be root,"
             " and 'chmod go-w' it."),
            ({"RELOAD": "x 'a"}, "FILE_RELOAD: holds a quotation mark without its partner."),
            ({"RELOAD": "systemd:nginx"}, "FILE_RELOAD: 'nginx' is not a unit, such as nginx.service."),
            ({"RELOAD": "signal:FOO:/run/x"}, "FILE_RELOAD: 'signal:FOO:/run/x' is not a signal and a pid file,"
             " such as signal:HUP:/run/x.pid."),
            ({"PROBE": "http://example.com/"}, "FILE_PROBE: http://example.com/ is not on this machine;"
             " name a host such as 127.0.0.1."),
            ({"FORMAT": "xml"}, "FILE_FORMAT: 'xml' is not one of json, yaml, toml, properties, ini, env, raw."),
            ({"PATH": f"{self.folder}/app"}, f"FILE_FORMAT: the suffix of {self.folder}/app names no format;"
             " set it to one of json, yaml, toml, properties, ini, env, raw."),
            ({"POINTER": "a"}, "FILE_POINTER: 'a' is not a JSON pointer, such as /servers/0."),
            ({"MODE": "rw"}, "FILE_MODE: 'rw' is not a mode in octal, such as 0644."),
            ({"OWNER": "nobody-here"}, "FILE_OWNER: 'nobody-here' does not exist on this machine."),
            ({"HEALTH": "x", "HEALTH_TIMEOUT": "11"}, "FILE_HEALTH_TIMEOUT: is longer than FILE_HEALTH_INTERVAL."),
            ({"TEMPLATE": "/nowhere/x.j2"}, "FILE_TEMPLATE: /nowhere/x.j2 does not exist."),
        ):  # fmt: skip
            with self.subTest(fields=fields):
                self.assertEqual(self.mistakes(**self.file(**fields)), [sentence])

    def test_all_mistakes_come_at_once(self) -> None:
        self.assertEqual(len(self.mistakes(**self.file(MODE="9", OWNER="nobody-here", CHECK="x"))), 3)

    def test_mistakes_of_outputs(self) -> None:
        self.assertEqual(self.mistakes(OUTPUTS="FTP"), ["OUTPUTS: 'FTP' is not an output; choose from FILE, HTTP."])
        self.assertEqual(self.mistakes(OUTPUTS="FILE,FILE"), ["OUTPUTS: names an output twice."])
        self.assertEqual(
            self.mistakes(FILE_PATH=self.path),
            ["FILE_PATH: is set, and OUTPUTS does not name FILE; set OUTPUTS=FILE."],
        )

    def test_several_files(self) -> None:
        plan = self.plan(
            **self.toml(
                f"""
                splay = 5
                retry = 0
                [[file]]
                name = "a"
                path = "{self.folder}/a.yaml"
                mode = "0644"
                test = ["{self.program}", "-t"]
                probe = "http://127.0.0.1:8000/health"
                [[file]]
                path = "{self.folder}/b.env"
                pointer = "/env"
                """
            )
        )
        self.assertEqual([(each.name, each.format) for each in plan.files], [("a", "yaml"), ("b-env", "env")])
        self.assertEqual((plan.splay, plan.retry), (5.0, 0.0))

    def test_mistakes_of_the_file_of_outputs(self) -> None:
        head = f'[[file]]\npath = "{self.path}"\n'
        for text, sentence in (
            ("x = 1", "OUTPUTS_FILE: 'x' is not a setting; known are splay, retry, [[file]] and [http]."),
            ("", "OUTPUTS_FILE: describes no file; begin each one with [[file]]."),
            (f"{head}mod = 1", f"OUTPUTS_FILE: file {self.path}: mod: is not a setting of a file output."),
            (f"{head}timeout = 0", f"OUTPUTS_FILE: file {self.path}: timeout: is not a whole number from 1 to 600."),
            (f"{head}reload = []", f"OUTPUTS_FILE: file {self.path}: reload: is not a command:"
             " write an array of texts."),
            (f"{head}in_place = 1", f"OUTPUTS_FILE: file {self.path}: in_place: is not true or false."),
            (f"{head}name = 'A'", "OUTPUTS_FILE: file A: name: 'A' is not a name of 1 to 32 lower-case letters,"
             " digits and dashes."),
            (f"splay = 601\n{head}", "OUTPUTS_FILE: splay: is not a number from 0 to 600."),
            (f"{head}[http]\nx = 1", "OUTPUTS_FILE: http: 'x' is not a setting of the HTTP output."),
        ):  # fmt: skip
            with self.subTest(text=text):
                self.assertIn(sentence, self.mistakes(**self.toml(text)))
        twice = self.mistakes(**self.toml(head * 2))
        self.assertIn(f"OUTPUTS_FILE: two files have the path {self.path}.", twice)
        self.assertIn("is not TOML", self.mistakes(**self.toml("=="))[0])
        self.assertIn("No such file", self.mistakes(OUTPUTS="FILE", OUTPUTS_FILE="/nowhere.toml")[0])
        both = self.mistakes(**self.toml(head), FILE_PATH=self.path)
        self.assertEqual(both, ["FILE_PATH: OUTPUTS_FILE is set, too; describe all files there."])
        os.chmod(self.folder / "outputs.toml", 0o666)
        loose = self.mistakes(OUTPUTS="FILE", OUTPUTS_FILE=str(self.folder / "outputs.toml"))
        self.assertIn("can be changed by others", loose[0])
