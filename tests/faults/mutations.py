"""The builds that are broken on purpose; nothing else of the suite knows of them."""

from __future__ import annotations

from attrs import frozen


@frozen
class Edit:
    """
    Words that are replaced.

    @ivar file: under C{confd}.
    @ivar old: what must be there exactly once.
    """

    file: str
    old: str
    new: str


@frozen
class Mutant:
    """
    One broken build.

    @ivar tests: the smallest set of tests that must be red on it, for trial.
    @ivar rows: rows of the fault suite that must be red on it.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    rows: str = ""


MUTANTS = (
    Mutant(
        "keys are trusted and not stored",
        (Edit("agent/receiver.py", "self._keys_changed(self._keys.publics)", "pass"),),
        ("tests.agent.test_lifecycle.AgentTests",),
    ),
    Mutant(
        "stored keys are not loaded",
        (Edit("agent/lifecycle.py", "self.receiver.trust(contents.keys)", "pass"),),
        ("tests.agent.test_lifecycle.AgentTests",),
    ),
    Mutant(
        "any doorbell counts as signed",
        (Edit("agent/doorbell.py", "if not doorbell.verified(self._keys):", "if False:"),),
        ("tests.agent.test_doorbell",),
    ),
    Mutant(
        "commits are not synced (synchronous=NORMAL)",
        (
            Edit("controller/store/sqlite/connection.py", "synchronous = FULL", "synchronous = NORMAL"),
            Edit("controller/store/sqlite/connection.py", '!= ("wal", 2)', '!= ("wal", 1)'),
        ),
        ("tests.controller.store.sqlite.test_connection",),
        "F-02",
    ),
    Mutant(
        "answered before the commit",
        (
            Edit(
                "controller/store/sqlite/engine.py",
                'cursor.execute("BEGIN IMMEDIATE")',
                'vars(connection).update(commit=int) or connection.in_transaction or cursor.execute("BEGIN IMMEDIATE")',
            ),
            Edit(
                "controller/store/sqlite/engine.py",
                'cursor.execute("COMMIT")',
                'connection.total_changes % 7 or cursor.execute("COMMIT")',
            ),
        ),
        ("tests.controller.store.sqlite.test_engine",),
        "F-01",
    ),
    Mutant(
        "PostgreSQL: a commit in doubt counts as failed",
        (
            Edit(
                "controller/store/postgres/engine.py",
                "            if not await self._resolve(doubt.number):\n",
                "            if not await self._resolve(doubt.number) or doubt:\n",
            ),
        ),
        ("tests.controller.store.postgres.test_engine",),
    ),
    Mutant(
        "PostgreSQL: the warning and the tag of a COMMIT are ignored",
        (
            Edit("controller/store/postgres/groups.py", 'if "01000" in warnings:', "if False:"),
            Edit("controller/store/postgres/groups.py", 'if ended.statusmessage != "COMMIT":', "if False:"),
        ),
        ("tests.controller.store.postgres.test_engine",),
    ),
    Mutant(
        "PostgreSQL: a database that went back is written",
        (Edit("controller/store/postgres/continuity.py", '    if found == "went_back":\n', "    if False:\n"),),
        ("tests.controller.store.postgres.test_life",),
    ),
    Mutant(
        "PostgreSQL: hints only, no regular read of changes",
        (Edit("controller/store/postgres/store.py", "interval = 0.25", "interval = 3600.0"),),
        ("tests.controller.store.postgres.test_several.MemoryTests.test_poll_brings_a_change_without_hints",),
    ),
    Mutant(
        "PostgreSQL: regular reads of changes only, no hints",
        (Edit("controller/store/postgres/store.py", "            self._log.hint()\n", "            pass\n"),),
        ("tests.controller.store.postgres.test_several.MemoryTests.test_hint_brings_a_change_at_once",),
    ),
    Mutant(
        "several controllers: 401 for a token of another controller",
        (Edit("web/auth/basic.py", "return self._look(", "return None and self._look("),),
        ("tests.controller.test_several_controllers.AgentOfAnotherControllerTests.test_poll_with_its_token",),
    ),
    Mutant(
        "several writers, deferred transactions",
        (
            Edit("controller/store/sqlite/engine.py", "BEGIN IMMEDIATE", "BEGIN"),
            Edit("controller/store/write_queue.py", "if self._under_way or not self._waiting", "if not self._waiting"),
            Edit("controller/store/sqlite/engine.py", "cp_max=most", "cp_max=3"),
        ),
        ("tests.controller.store.sqlite.test_engine",),
        "G2",
    ),
    Mutant(
        "older ones are applied (!= for >)",
        (Edit("model.py", "Verdict.NEWER if there > here", "Verdict.NEWER if there != here"),),
        ("tests.test_model",),
        "F-12",
    ),
    Mutant(
        "remembered before it is handed over",
        (
            Edit(
                "agent/worker_sync.py",
                "        self._settled, self._steady = None, False\n        delivery = self._delivery_of(target)\n",
                "        self._settled, self._steady = None, False\n        delivery = self._delivery_of(target)\n"
                "        self.applied = target\n"
                "        if delivery is not None:\n"
                "            delivery.end(ReportState.APPLIED, self._clock.seconds())\n",
            ),
        ),
        ("tests.agent.test_worker_sync",),
    ),
    Mutant(
        "what the worker holds is not read back",
        (Edit("agent/worker_sync.py", "if checksum not in (None, target.document.checksum)", "if False"),),
        ("tests.agent.test_worker_sync",),
        "F-61",
    ),
    Mutant(
        "no comparison after a connection",
        (Edit("agent/strategies/pubsub.py", "        self._sink.hint()\n", "        pass\n"),),
        ("tests.agent.strategies",),
    ),
    Mutant(
        "no poll",
        (Edit("agent/poller.py", "        self._loop.startService()\n", "        pass\n"),),
        ("tests.agent.test_poller",),
        "F-47",
    ),
    Mutant(
        "caught up before it listens",
        (
            Edit(
                "agent/strategies/pubsub.py",
                "broker.listen(namespace, self._announced, self._connected)",
                "broker.listen(namespace, self._announced, lambda: None)",
            ),
            Edit(
                "agent/strategies/pubsub.py",
                "        self._broker.startService()\n",
                "        self._connected()\n        self._broker.startService()\n",
            ),
        ),
        ("tests.agent.strategies.test_pubsub",),
    ),
    Mutant(
        "given up after 10 attempts",
        (
            Edit(
                "runtime/timing.py",
                "ceiling = min(self.cap, self.base * _GROWTH_FACTOR ** min(self._failures, 32))",
                "ceiling = min(self.cap, self.base * _GROWTH_FACTOR**self._failures) if self._failures < 10 else 1e9",
            ),
        ),
        ("tests.runtime.test_timing",),
    ),
    Mutant(
        "cache without fsync",
        (Edit("runtime/atomic_file.py", "            os.fsync(descriptor)\n        if", "        if"),),
        (),
        "F-03",
    ),
    Mutant(
        "cache without rename",
        (
            Edit(
                "runtime/atomic_file.py",
                "        os.replace(fresh, path)\n",
                "        open(path, 'wb').write(content)\n",
            ),
        ),
        ("tests.agent.test_cache_files",),
        "F-09",
    ),
    Mutant(
        "a damaged cache is believed",
        (Edit("agent/cache_files.py", 'if found.get("checksum") != _checksum(body)', "if False"),),
        ("tests.agent.test_cache_files",),
    ),
    Mutant(
        "any signature will do",
        (
            Edit(
                "codec/signing.py",
                "        if public is None:\n            return False\n",
                "        if public is None:\n            return True\n",
            ),
            Edit(
                "codec/signing.py",
                "invalid_signature):\n            return False",
                "invalid_signature):\n            return True",
            ),
        ),
        ("tests.codec.test_signing",),
        "F-23 REDIS",
    ),
    Mutant(
        "timers on the wall clock",
        (Edit("runtime/timing.py", "reactor.seconds = time.monotonic", "reactor.seconds = time.time"),),
        ("tests.runtime.test_timing",),
        "F-54",
    ),
    Mutant(
        "bodies without a limit",
        (
            Edit(
                "web/server/channel.py",
                "        if size <= min(limits.body if request.trusted else limits.stranger, limits.body):\n",
                "        if True:\n",
            ),
        ),
        ("tests.web.server.test_site", "tests.web.server.test_channel"),
        "F-35",
    ),
    Mutant(
        "headers without a deadline",
        (Edit("web/server/channel.py", "elif reader.begun and self._timer is None", "elif False"),),
        ("tests.web.server.test_site", "tests.web.server.test_channel"),
        "F-33",
    ),
    Mutant(
        "bodies without a deadline",
        (
            Edit(
                "web/server/channel.py",
                "        self._within(self.factory.limits.body_seconds",
                "        (self.factory.limits",
            ),
        ),
        ("tests.web.server.test_site", "tests.web.server.test_channel"),
    ),
    Mutant(
        "readers that take nothing are not cut off",
        (Edit("web/api/streaming.py", "callLater(allowed,", "callLater(allowed * 1000,"),),
        ("tests.controller.streams.test_config_stream",),
        "F-56",
    ),
    Mutant(
        "always ready",
        (Edit("web/health.py", "    if problems:\n        details", "    if False:\n        details"),),
        ("tests.web.test_health",),
        "F-08",
    ),
    Mutant(
        "an address is checked, and another one connected to",
        (
            Edit(
                "runtime/transport.py",
                "        self._check(hosts)\n",
                "        self._check(hosts)\n        hosts = await self._resolve()\n",
            ),
        ),
        ("tests.client.test_checked_endpoints",),
    ),
    Mutant(
        "requests that two readers take for different ones",
        (
            Edit(
                "web/server/channel.py",
                "        reason = self._ambiguity(request, isinstance(head, KnownHead))\n",
                "        reason = None\n",
            ),
        ),
        ("tests.web.test_smuggling",),
        "F-40",
    ),
    Mutant(
        "a known head is taken from any peer",
        (
            Edit(
                "web/server/channel.py",
                "        if reason is None and self.factory.proxies.hops(",
                "        if not known and reason is None and self.factory.proxies.hops(",
            ),
        ),
        ("tests.web.server.test_head_memo",),
        "F-40",
    ),
    Mutant(
        "the line of a request is read as llhttp reads it",
        (
            Edit(
                "web/server/request_head.py", "if version is None or not head.startswith(line):", "if version is None:"
            ),
        ),
        ("tests.web.test_smuggling",),
        "F-40",
    ),
    Mutant(
        "anybody may say where a request comes from",
        (Edit("web/server/proxies.py", "if not (hops and self.trusts(peer)):", "if not hops:"),),
        ("tests.web.server.test_proxies",),
    ),
    Mutant(
        "what was let in once with a password is let in again",
        (Edit("web/auth/basic.py", "return found is principal or found == principal", "return known"),),
        ("tests.controller.test_passwords",),
    ),
    Mutant(
        "keys that come twice in JSON",
        (Edit("codec/strict_json.py", '        raise Malformed("duplicate_key"', '        Malformed("duplicate_key"'),),
        ("tests.codec.test_strict_json",),
        "F-41",
    ),
    Mutant(
        "a key of a retry is forgotten",
        (
            Edit(
                "controller/store/queries/configs.py",
                "    if draft.idempotency_key is not None:\n        ",
                "    if False:\n        ",
            ),
        ),
        ("tests.controller.store.sqlite.test_store",),
        "F-43",
    ),
    Mutant(
        "a publish writes the snapshot itself",
        (
            Edit(
                "controller/api/configs.py",
                "        made = revision.configuration\n",
                "        made = revision.configuration\n        self._snapshot._put(made)\n",
            ),
        ),
        ("tests.controller.test_feed.OnePathTests",),
    ),
    Mutant(
        "writes are answered before the feed gets its hint",
        (
            Edit(
                "controller/store/change_log.py",
                "                self.hint()\n",
                '                __import__("twisted.internet").internet.reactor.callLater(0, self.hint)\n',
            ),
        ),
        ("tests.controller.store.sqlite.test_store.SqliteChangeStoreTests.test_hint_comes_before_the_result",),
    ),
)
