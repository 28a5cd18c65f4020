"""The API documents of controller and worker: paths, parameters, answers and schemas."""

from __future__ import annotations

from tests.golden.recording import GoldenTestCase, api_shape
from tests.test_surface import surfaces


class ApiDocumentGoldenTests(GoldenTestCase):
    """What each role promises, without the prose."""

    def test_shapes(self) -> None:
        """Each as it was."""
        for role, surface in surfaces().items():
            self.assert_golden(f"{role}-api.json", api_shape(surface.document))
