"""What every store must do that keeps API tokens."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.changes import TOKEN
from confd.controller.interfaces import ITokenStore
from confd.errors import Conflict, NotFound
from confd.testing.examples import a_draft, a_token, an_attempt
from confd.testing.stores import StoreFixture, StoreTests


def make_itokenstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{ITokenStore} for the stores that C{fixture} makes."""

    class ITokenStoreTests(StoreTests):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30))

        def test_interface(self) -> None:
            verifyObject(ITokenStore, self.store)

        async def test_token_comes_back_as_it_was_created(self) -> None:
            later, plain = a_token("bb"), a_token("aa", name="other", subject="Ada", expires_at=None)
            self.assertEqual((await self.store.create_token(later)).value, later)
            await self.store.create_token(plain)
            self.assertEqual(await self.store.tokens(), [plain, later])

        async def test_each_change_is_in_the_feed_and_in_the_audit(self) -> None:
            token = a_token("aa")
            before = (await self.store.contents()).seq
            await self.store.create_token(token, an_attempt(1))
            rotated = (await self.store.rotate_token("aa", b"n" * 32, None, an_attempt(2))).value
            revoked = (await self.store.revoke_token("aa", token.created_at, an_attempt(3))).value
            await self.store.touch_tokens({"aa": (token.created_at, "192.0.2.7")})
            found = [(each.kind, each.subject, each.value) for each in (await self.store.changes(before)).changes]
            self.assertEqual(found, [(TOKEN, "aa", each) for each in (token, rotated, revoked)])
            entries = await self.store.audit(10, None)
            self.assertEqual([each.detail for each in entries], ["token ci-aa (aa)"] * 3)

        async def test_name_is_unique_among_tokens_that_are_not_revoked(self) -> None:
            token = a_token("aa")
            await self.store.create_token(token)
            again = a_token("bb", name=token.name)
            await self.assert_refused(self.store.create_token(again), Conflict, "token_exists")
            await self.store.revoke_token("aa", token.created_at)
            await self.store.create_token(again)
            self.assertEqual(len(await self.store.tokens()), 2)

        async def test_rotation_keeps_the_old_secret_for_a_while_or_not_at_all(self) -> None:
            token = a_token("aa")
            await self.store.create_token(token)
            until = token.created_at + timedelta(hours=1)
            rotated = (await self.store.rotate_token("aa", b"n" * 32, until)).value
            self.assertEqual(
                rotated, evolve(token, digest=b"n" * 32, previous_digest=token.digest, previous_until=until)
            )
            rotated = (await self.store.rotate_token("aa", b"m" * 32, None)).value
            self.assertEqual(rotated, evolve(token, digest=b"m" * 32))
            self.assertEqual(await self.store.tokens(), [rotated])

        async def test_revocation_is_final_and_may_be_repeated(self) -> None:
            token = a_token("aa")
            await self.store.create_token(token)
            await self.store.rotate_token("aa", b"n" * 32, token.created_at)
            first = (await self.store.revoke_token("aa", token.created_at)).value
            self.assertEqual(first, evolve(token, digest=b"n" * 32, revoked_at=token.created_at))
            later = token.created_at + timedelta(hours=1)
            self.assertEqual((await self.store.revoke_token("aa", later)).value, first)
            await self.assert_refused(self.store.rotate_token("aa", b"m" * 32, None), NotFound, "unknown_token")

        async def test_unknown_token(self) -> None:
            at = a_token("aa").created_at
            await self.assert_refused(self.store.rotate_token("no", b"m" * 32, None), NotFound, "unknown_token")
            await self.assert_refused(self.store.revoke_token("no", at), NotFound, "unknown_token")

        async def test_last_use(self) -> None:
            token = a_token("aa")
            await self.store.create_token(token)
            later = token.created_at + timedelta(hours=1)
            await self.store.touch_tokens({"aa": (later, "192.0.2.7")})
            used = evolve(token, last_used_at=later, last_used_from="192.0.2.7")
            self.assertEqual(await self.store.tokens(), [used])
            self.assertEqual((await self.store.rotate_token("aa", token.digest[::-1], None)).value.last_used_at, later)

    return ITokenStoreTests
