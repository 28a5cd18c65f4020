"""The Helm chart: what it renders, and what its schema refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.options import read
from confd.runtime.setting import settings_of
from confd.runtime.settings import AgentSettings, ControllerSettings
from tests.budgets import budget

ROOT = Path(__file__).resolve().parents[2]
CHART, EXAMPLE = ROOT / "deploy/helm/confd", ROOT / "docs/examples/helm"
GOLDEN = Path(__file__).with_name("helm")

HELM = shutil.which("helm")

#: Settings that the chart itself sets.
FIXED = {"LISTEN", "PORT", "DB_PATH", "ADMIN_PASSWORD", "AGENT_PASSWORD"}


def render(chart: Path, *values: str) -> subprocess.CompletedProcess[str]:
    """Run C{helm template}."""
    assert HELM is not None
    command = [HELM, "template", "test", str(chart), "--kube-version=1.30.0", *(f"--set={each}" for each in values)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class ChartTests(SynchronousTestCase):
    """The files of the chart, without Helm."""

    def test_schema_keeps_secrets_out_of_the_environment(self) -> None:
        """A secret that it accepts has to be added to C{values.schema.json}."""
        controller = json.loads((CHART / "values.schema.json").read_text())["properties"]["controller"]["properties"]
        wrong, fixed = controller["settings"]["propertyNames"]["not"]["anyOf"]
        for each in settings_of(ControllerSettings):
            refused = re.search(wrong["pattern"], each.name) is not None or each.name in fixed["enum"]
            self.assertEqual(refused, each.secret or each.name in FIXED, each.name)

    def test_alerts_are_the_alerts_of_prometheus(self) -> None:
        alerts = CHART / "files/alerts.yml"
        self.assertEqual(alerts.resolve(), ROOT / "deploy/prometheus/alerts.yml")

    def test_objects_match_the_schemas_of_kubernetes(self) -> None:
        """Those of the oldest version that knows native sidecars by default, and of a new one."""
        try:
            import kubernetes_validate
        except ImportError:
            self.assertNotIn("CI", os.environ)
            self.skipTest("kubernetes-validate is not installed")
        for path in GOLDEN.glob("*.yaml"):
            for each in yaml.safe_load_all(path.read_text()):
                if each["apiVersion"].startswith("monitoring.coreos.com/"):
                    continue
                for version in ("1.29", "1.36"):
                    kubernetes_validate.validate(each, version, strict=True)
                each["spec"]["port"] = 1
                with self.assertRaises(kubernetes_validate.ValidationError):
                    kubernetes_validate.validate(each, version, strict=True)


class RenderedTests(SynchronousTestCase):
    """What Helm renders."""

    def setUp(self) -> None:
        if HELM is None:
            self.skipTest("helm is not installed (go install helm.sh/helm/v3/cmd/helm@latest)")

    def rendered(self, chart: Path, *values: str) -> list[dict[str, Any]]:
        """Return the objects."""
        done = render(chart, *values)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def assert_golden(self, name: str, objects: list[dict[str, Any]]) -> None:
        """Compare with a golden file, or write it where C{CONFD_GOLDEN=write} says so."""
        path, text = GOLDEN / f"{name}.yaml", yaml.safe_dump_all(objects, sort_keys=False)
        if os.environ.get("CONFD_GOLDEN") == "write":
            path.write_text(text)
        self.assertEqual(text, path.read_text())

    def assert_confined(self, container: dict[str, Any]) -> None:
        """Check that a container has no rights."""
        security = container["securityContext"]
        self.assertTrue(security["readOnlyRootFilesystem"] and security["runAsNonRoot"])
        self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse(security["allowPrivilegeEscalation"])

    def test_lint(self) -> None:
        done = subprocess.run([str(HELM), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_all_combinations(self) -> None:
        combinations = list(product(("", "given"), *[("true", "false")] * 4))
        for existing, network, ingress, monitor, rule in combinations[:: budget(5, 1)]:
            objects = self.rendered(
                CHART,
                f"secret.existing={existing}",
                f"networkPolicy.enabled={network}",
                f"ingress.enabled={ingress}",
                "ingress.host=confd.example",
                f"monitoring.serviceMonitor={monitor}",
                f"monitoring.prometheusRule={rule}",
            )
            kinds = {each["kind"]: each for each in objects}
            expected = {"StatefulSet", "Service"}
            for kind, wanted in (
                ("Secret", not existing),
                ("NetworkPolicy", network == "true"),
                ("Ingress", ingress == "true"),
                ("ServiceMonitor", monitor == "true"),
                ("PrometheusRule", rule == "true"),
            ):
                expected |= {kind} if wanted else set()
            self.assertEqual(set(kinds), expected)
            pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
            [container] = pod["containers"]
            self.assert_confined(container)
            self.assertEqual(kinds["StatefulSet"]["spec"]["replicas"], 1)
            [secret] = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
            self.assertEqual(secret, existing or "test-confd")

    def test_everything(self) -> None:
        objects = self.rendered(
            CHART,
            "secret.existing=given",
            "ingress.enabled=true",
            "ingress.host=confd.example",
            "ingress.tlsSecret=tls",
            "monitoring.serviceMonitor=true",
            "controller.settings.LOG_LEVEL=debug",
            "controller.secretSettings.WEBHOOK_SECRET=webhook-secret",
            "controller.secretSettings.WEBHOOK_URLS=webhook-urls",
        )
        self.assert_golden("everything", objects)
        [container] = objects[[each["kind"] for each in objects].index("StatefulSet")]["spec"]["template"]["spec"][
            "containers"
        ]
        names = {each["name"].removesuffix("_FILE") for each in container["env"]}
        self.assertLessEqual(names, {each.name for each in settings_of(ControllerSettings)})
        self.assertFalse(
            [each for each in container["env"] if "PASSWORD" in each["name"] and "_FILE" not in each["name"]]
        )

    def test_rules_are_those_of_prometheus(self) -> None:
        [rule] = [each for each in self.rendered(CHART, "monitoring.prometheusRule=true") if "Rule" in each["kind"]]
        self.assertEqual(rule["spec"], yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text()))

    def test_wrong_values_are_refused(self) -> None:
        for values, words in (
            (["controller.replicas=2"], "DATABASE_URL"),
            (["controller.settings.ADMIN_PASSWORD=x"], "ADMIN_PASSWORD"),
            (["controller.settings.WEBHOOK_URLS=x"], "WEBHOOK_URLS"),
            (["controller.settings.logLevel=x"], "logLevel"),
            (["controller.secretSettings.ADMIN_PASSWORD=x"], "ADMIN_PASSWORD"),
            (["nonsense=1"], "nonsense"),
            (["service.port=0"], "port"),
        ):
            done = render(CHART, *values)
            self.assertNotEqual(done.returncode, 0, values)
            self.assertIn(words, done.stderr)

    def test_several_controllers_on_postgresql(self) -> None:
        objects = self.rendered(CHART, "controller.replicas=2", "controller.secretSettings.DATABASE_URL=database-url")
        self.assertNotIn("DB_PATH", json.dumps(objects))

    def test_agent_of_an_application(self) -> None:
        chart = Path(self.mktemp())
        shutil.copytree(EXAMPLE, chart)
        shutil.copytree(CHART, chart / "charts/confd")
        [deployment] = self.rendered(chart, "agent.reload=http://127.0.0.1:9000/reload")
        self.assert_golden("application", [deployment])
        pod = deployment["spec"]["template"]["spec"]
        [agent], [application] = pod["initContainers"], pod["containers"]
        self.assertEqual((agent["restartPolicy"], agent["startupProbe"]["httpGet"]["path"]), ("Always", "/applied"))
        self.assert_confined(agent)
        [mount] = application["volumeMounts"]
        self.assertTrue(mount["readOnly"])
        self.assertNotIn("subPath", mount)
        self.assertEqual(pod["securityContext"]["fsGroup"], 10001)
        environ = {each["name"]: each.get("value", "10.0.0.7") for each in agent["env"] if each["name"] != "POD_IP"}
        secret = Path(self.mktemp())
        secret.write_text("x" * 20)
        environ |= {"CONTROLLER_PASSWORD_FILE": str(secret), "AGENT_ADVERTISE": "10.0.0.7:8081"}
        settings = read(AgentSettings, {}, environ)
        self.assertEqual((settings.outputs, settings.namespace, settings.file_mode), (("FILE",), "app", "0640"))
