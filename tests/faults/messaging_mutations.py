"""The builds whose messaging is broken on purpose: announcements in Kafka, and the export of the audit log."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_CONNECTION, _RECORDS = "brokers/kafka/connection.py", "brokers/kafka/records.py"
_EXPORTER, _AGAINST = "controller/audit_export/exporter.py", "cli/audit_export.py"
_FILE = "controller/audit_export/file_sink.py"
_SUITE = "tests.brokers.kafka.test_broker"
_EXPORTS, _VERIFY = "tests.controller.audit_export", "tests.cli.commands.test_admin.AuditTests"


def _mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, (Edit(file, old, new),), tests)


MESSAGING_MUTANTS = (
    _mutant(
        "KAFKA: an agent reads the first partition only",
        _CONNECTION,
        "self._leaders.items() if leader == node]",
        "self._leaders.items() if leader == node and number == 0]",
        _SUITE,
    ),
    _mutant(
        "KAFKA: an agent is connected before it has read the topic",
        _CONNECTION,
        "while any(positions[number]",
        "while not positions and any(positions[number]",
        _SUITE,
    ),
    _mutant(
        "KAFKA: compressed batches are read",
        _RECORDS,
        "batch.validate_crc() or batch.attributes & _COMPRESSION:",
        "batch.validate_crc():",
        _SUITE,
    ),
    _mutant(
        "KAFKA: damaged batches are read",
        _RECORDS,
        "not batch.validate_crc() or ",
        "",
        "tests.brokers.kafka.test_records",
    ),
    _mutant(
        "The audit export goes on after an entry that the database does not have",
        _EXPORTER,
        "!= [newest]:",
        "!= [newest] and self.failures < 0:",
        _EXPORTS,
    ),
    _mutant(
        "The audit export does not ask the sink again after a failure",
        _EXPORTER,
        "            self._known = False\n            raise",
        "            raise",
        _EXPORTS,
    ),
    _mutant(
        "The audit export writes a batch out of order",
        _EXPORTER,
        "await self.sink.write(entries)",
        "await self.sink.write(entries[::-1])",
        _EXPORTS,
    ),
    _mutant(
        "The audit export goes on after a batch that the sink did not take",
        _EXPORTER,
        "            await self.sink.write(entries)\n            self._newest = entries[-1]\n",
        "            self._newest = entries[-1]\n            await self.sink.write(entries)\n"
        "        except ConfdError:\n            return True\n        try:\n            pass\n",
        _EXPORTS,
    ),
    _mutant("AUDIT_FILE: entries are not on disk", _FILE, "            self._sync(descriptor)\n", "", _EXPORTS),
    _mutant("AUDIT_FILE: an entry joins a line that was cut", _FILE, 'lines = b"\\n" + lines', "pass", _EXPORTS),
    _mutant("AUDIT_FILE: a link is followed", _FILE, " | os.O_NOFOLLOW", "", _EXPORTS),
    _mutant("AUDIT_FILE: others may read", _FILE, "_FLAGS, 0o600)", "_FLAGS, 0o644)", _EXPORTS),
    _mutant(
        "An export with a changed entry is accepted",
        _AGAINST,
        "entry.hash != entry.digest() or ",
        "",
        _VERIFY,
    ),
    _mutant(
        "An entry that differs from the export is accepted",
        _AGAINST,
        "self.differing.append(entry.number)",
        "pass",
        _VERIFY,
    ),
    _mutant(
        "An exported entry that the controller lacks is accepted",
        _AGAINST,
        "for number in sorted(self._missing)[:1]:",
        "for number in sorted(self._missing)[:0]:",
        _VERIFY,
    ),
)
