"""The endpoint of certificates."""

from __future__ import annotations

from attrs import define

from confd.codec.certificate import Certificate
from confd.controller.api.change_options import QUORUM, Percent
from confd.controller.configs.reader import ConfigReader
from confd.controller.convergence.certificates import Certificates
from confd.errors import Conflict, Gone
from confd.web.api.endpoint import Answer, Call, NamespaceQuery, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs


class CertificateQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    A namespace, and what its certificate must hold.

    @ivar quorum: percent of the agents of the namespace that must have applied the version.
    @ivar leaves: name each agent in the certificate.
    """

    quorum: Percent = QUORUM
    leaves: bool = False


@define(eq=False)
class CertificatesApi:
    """Certify versions."""

    _certificates: Certificates
    _reader: ConfigReader

    @endpoint(
        "GET",
        "/api/v1/config/versions/<int:version>/certificate",
        Permission.ROLLOUTS_READ,
        "The certificate of a version.",
        query=CertificateQuery,
        docs=Docs({200: Certificate}, errors=(Gone, Conflict), tag="convergence"),
    )
    async def certificate(self, call: Call, version: int) -> Answer:
        """
        Sign what the controller recorded of the agents that applied a version.

        409 C{not_converged} while too few agents have applied it. The body is canonical JSON (RFC 8785); C{root} is the
        root of a tree (RFC 6962) of one leaf for each agent: C{agent_id|tag|checksum|session|sequence}.
        """
        query: CertificateQuery = call.query
        await self._reader.require(query.namespace, version)
        return Answer(await self._certificates.certify(query.namespace, version, query.quorum, query.leaves))
