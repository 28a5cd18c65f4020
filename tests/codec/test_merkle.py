"""Tests of L{confd.codec.merkle}."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.merkle import merkle_root

#: The leaves and roots of the tests of Certificate Transparency, by number of leaves.
LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def by_definition(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962 defines it."""
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\x00" + leaf for leaf in leaves)).digest()
    left = 1
    while 2 * left < len(leaves):
        left *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:left]) + by_definition(leaves[left:])).digest()


class MerkleTests(SynchronousTestCase):
    """L{merkle_root}."""

    def test_vectors(self) -> None:
        """The roots of the first leaves are those of other programs."""
        leaves = [bytes.fromhex(leaf) for leaf in LEAVES]
        for count, root in enumerate(ROOTS):
            self.assertEqual(merkle_root(leaves[:count]).hex(), root, count)

    @given(st.lists(st.binary(max_size=3), max_size=70))
    def test_definition(self, leaves: list[bytes]) -> None:
        """The root of any leaves is that of the definition."""
        self.assertEqual(merkle_root(leaves), by_definition(leaves))

    def test_nodes_are_no_leaves(self) -> None:
        """A leaf that consists of two hashes has another root than their node."""
        pair = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b")]
        self.assertNotEqual(merkle_root([b"".join(pair)]), merkle_root([b"a", b"b"]))
