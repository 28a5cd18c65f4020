"""Tests of L{confd.agent.cache_files}, with real files."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.cache_files import CacheContents, CacheFiles
from confd.codec import strict_json
from tests.agent.fakes import AGENT_ID, configuration


class CacheFilesTests(SynchronousTestCase):
    """L{CacheFiles}."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "cache"
        self.files = CacheFiles(str(self.path), "default")

    def names(self) -> set[str]:
        """Return the names of the files."""
        return {each.name for each in self.folder.iterdir()}

    def test_missing_files_load_as_nothing(self) -> None:
        self.assertEqual(self.files.load(), CacheContents())

    def test_saved_contents_are_loaded(self) -> None:
        self.files.save(configuration(7, data={"url": "http://ü", "n": [1.5, None, True, {"z": 1, "a": 2}]}))
        self.files.save_id(AGENT_ID)
        self.files.save_token("t0ken")
        expected = configuration(7, data={"url": "http://ü", "n": [1.5, None, True, {"z": 1, "a": 2}]})
        self.assertEqual(self.files.load(), CacheContents(expected, AGENT_ID, token="t0ken"))
        self.assertNotIn("t0ken", repr(self.files.load()))

    def test_keys_are_loaded_with_their_configuration(self) -> None:
        self.files.save(configuration(7), ("old",))
        self.files.save(configuration(8), ("new", "old"))
        self.assertEqual(self.files.load(), CacheContents(configuration(8), keys=("new", "old")))
        self.path.write_bytes(b"damaged")
        self.assertEqual(self.files.load().keys, ("old",))
        self.assertEqual(CacheFiles(str(self.path), "edge").load().keys, ())
        self.files.save(configuration(7, cluster_id="", epoch=0), ("key",))
        self.assertEqual(self.files.load().keys, ())

    def test_a_configuration_of_the_go_system_is_loaded(self) -> None:
        go = configuration(7, cluster_id="", epoch=0)
        self.files.save(go)
        self.assertEqual(self.files.load().configuration, go)

    def test_the_cache_of_a_go_agent_is_loaded(self) -> None:
        """With or without a line end; a part of it, or a file of confd without its checksum, is damaged."""
        text = b'{"version":7,"data":{"url":"https://ip.me"},"poll_interval_seconds":30}'
        for content in (text, text + b"\n"):
            self.path.write_bytes(content)
            kept = self.files.load()
            assert kept.configuration is not None
            self.assertEqual((str(kept.configuration.tag), kept.findings), ("7", ()))
            self.assertEqual(strict_json.decode(kept.configuration.document.raw), {"url": "https://ip.me"})
        self.files.save(configuration(7))
        of_confd = self.path.read_bytes().split(b"\n")[1]
        for content in (text[:-1], b"{}", b'{"version":0,"data":{}}', text + b"\n{}", of_confd):
            self.path.write_bytes(content)
            kept = CacheFiles(str(self.path), "other").load()
            self.assertIsNone(kept.configuration)
            self.assertIn("is damaged and set aside as", kept.findings[0])
        self.path.write_bytes(text)
        self.assertIn("belongs to the namespace 'default'", CacheFiles(str(self.path), "other").load().findings[0])

    def test_the_deepest_document_is_loaded(self) -> None:
        data: dict[str, object] = {}
        for _ in range(strict_json.MAX_DEPTH - 1):
            data = {"inner": data}
        self.files.save(configuration(7, data=data))
        self.assertEqual(self.files.load(), CacheContents(configuration(7, data=data)))

    def test_files_are_private(self) -> None:
        for _ in range(2):
            self.files.save(configuration(1))
        self.files.save_id(AGENT_ID)
        self.files.save_token("t0ken")
        self.assertEqual(self.names(), {"cache", "cache.prev", "cache.id", "cache.token"})
        self.assertEqual({stat.S_IMODE(each.stat().st_mode) for each in self.folder.iterdir()}, {0o600})

    def test_the_previous_configuration_is_kept(self) -> None:
        self.files.save(configuration(1))
        self.files.save(configuration(2))
        self.path.unlink()
        self.assertEqual(self.files.load().configuration, configuration(1))

    def test_leftovers_of_a_crash_are_replaced(self) -> None:
        """A planted link is not followed either."""
        target = self.folder / "target"
        target.write_text("precious")
        (self.folder / "cache.new").symlink_to("target")
        self.files.save(configuration(1))
        os.link(self.path, self.folder / "cache.prev")
        (self.folder / "cache.prev.new").write_text("left behind")
        self.files.save(configuration(2))
        self.assertEqual(self.files.load().configuration, configuration(2))
        self.assertEqual(target.read_text(), "precious")
        self.assertEqual(self.names(), {"cache", "cache.prev", "target"})

    # -- damage (F-10) --

    def damaged(self, content: bytes) -> CacheContents:
        """Load a damaged cache whose previous copy holds version 1."""
        for leftover in self.folder.iterdir():
            leftover.unlink()
        self.files.save(configuration(1))
        self.files.save(configuration(2))
        self.path.write_bytes(content)
        return self.files.load()

    def test_a_damaged_cache_is_renamed_and_the_previous_one_used(self) -> None:
        self.files.save(configuration(2))
        whole = self.path.read_bytes()
        header, _, body = whole.partition(b"\n")
        for content in (
            b"",
            b"{}",
            b"null",
            b"\n",
            b"\x00" * 4096,
            whole[: len(whole) // 2],
            header,
            header + b"\n{}",
            header.replace(b'"format":1', b'"format":2') + b"\n" + body,
            whole.replace(b"example", b"exampel"),
            b'{"version": 3, "config": {"url": "http://go"}}',
        ):
            kept = self.damaged(content)
            self.assertEqual(kept.configuration, configuration(1), content)
            self.assertEqual(len(kept.findings), 1)
            self.assertIn("is damaged and set aside as", kept.findings[0])
            self.assertEqual((self.folder / "cache.damaged").read_bytes(), content)
            self.assertEqual(self.names(), {"cache.prev", "cache.damaged"})

    @given(st.data())
    def test_a_flipped_bit_is_found(self, data: st.DataObject) -> None:
        self.files.save(configuration(2))
        whole = bytearray(self.path.read_bytes())
        # The line end that closes the file means nothing.
        place = data.draw(st.integers(0, len(whole) - 2))
        whole[place] ^= 1 << data.draw(st.integers(0, 7))
        self.assertEqual(self.damaged(bytes(whole)).configuration, configuration(1))

    @given(st.binary(max_size=300))
    def test_random_bytes_never_raise(self, content: bytes) -> None:
        self.assertEqual(self.damaged(content).configuration, configuration(1))

    def test_two_damaged_files_load_as_nothing(self) -> None:
        for path in (self.path, self.folder / "cache.prev"):
            path.write_bytes(b"rubbish")
        kept = self.files.load()
        self.assertIsNone(kept.configuration)
        self.assertEqual(self.names(), {"cache.damaged", "cache.prev.damaged"})

    def test_a_gigabyte_is_not_read(self) -> None:
        with self.path.open("wb") as file:
            file.truncate(2**30)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertIsNone(self.files.load().configuration)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 100 * 1024)

    def test_an_unreadable_file_is_a_finding(self) -> None:
        self.path.mkdir()
        kept = self.files.load()
        self.assertEqual(kept.findings, (f"The cache {self.path} cannot be read: Is a directory.",))

    def test_the_cache_of_another_namespace_is_not_used(self) -> None:
        CacheFiles(str(self.path), "edge").save(configuration(1, namespace="edge"))
        kept = self.files.load()
        self.assertIsNone(kept.configuration)
        self.assertIn("namespace 'edge' and is not used: NAMESPACE is 'default'", kept.findings[0])
        self.assertEqual(self.names(), {"cache"})

    def test_an_invalid_id_is_a_finding(self) -> None:
        for content in (b"", b"\xff\xfe", b"two words", b"x" * 2**20):
            (self.folder / "cache.id").write_bytes(content)
            kept = self.files.load()
            self.assertEqual((kept.agent_id, len(kept.findings)), ("", 1), content[:10])

    def test_an_invalid_token_is_a_finding(self) -> None:
        self.files.save_id(AGENT_ID)
        for content in (b"", b"\xff\xfe", b"two words", b"x" * 2**20):
            (self.folder / "cache.token").write_bytes(content)
            kept = self.files.load()
            self.assertEqual((kept.agent_id, kept.token, len(kept.findings)), (AGENT_ID, "", 1), content[:10])

    def test_a_token_without_an_id_is_not_used(self) -> None:
        self.files.save_token("t0ken")
        self.assertEqual(self.files.load(), CacheContents())

    def test_an_empty_token_removes_the_file(self) -> None:
        self.files.save_id(AGENT_ID)
        for token in ("t0ken", "", ""):
            self.files.save_token(token)
            self.assertEqual(self.files.load(), CacheContents(None, AGENT_ID, token=token))

    # -- a disk that fails --

    def test_a_full_disk_leaves_the_old_files(self) -> None:
        """F-09: a file size limit stands in for the full disk; both fail the write."""
        self.files.save(configuration(1))
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
        try:
            self.assertRaises(OSError, self.files.save, configuration(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, handler)
        self.assertEqual(self.files.load(), CacheContents(configuration(1)))
        self.assertEqual(self.names(), {"cache"})

    def test_a_missing_folder_is_an_error(self) -> None:
        self.assertRaises(OSError, CacheFiles(str(self.folder / "no" / "cache"), "default").save, configuration(1))

    def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(self) -> None:
        """F-16: kill -9 of a process that writes without pause."""
        writer = (
            "import itertools, sys\n"
            "from confd.agent.cache_files import CacheFiles\n"
            "from tests.agent.fakes import configuration\n"
            "files = CacheFiles(sys.argv[1], 'default')\n"
            "for version in itertools.count(1):\n"
            "    files.save(configuration(version))\n"
            "    print(version, flush=True)\n"
        )
        for round_ in range(5):
            with subprocess.Popen(
                [sys.executable, "-c", writer, str(self.path.absolute())],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
                text=True,
            ) as process:
                assert process.stdout is not None
                for _ in range(20 + 7 * round_):
                    process.stdout.readline()
                process.kill()
                written = [int(line) for line in process.stdout.read().split()] or [20 + 7 * round_]
            kept = self.files.load()
            assert kept.configuration is not None
            self.assertIn(kept.configuration.version, (written[-1], written[-1] + 1))
            self.assertEqual(kept.findings, ())
