"""What every store must do with tokens, looks and secrets, as tests to inherit: part of `testing.stores.StoreContract`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ratchet.ports import AccessToken, Look, Store


def a_token(name: str, hash: str = "", *, created_at: float = 1.0) -> AccessToken:
    """A token that lets its owner look."""
    return AccessToken(hash=hash or f"hash of {name}", name=name, role="view", created_at=created_at)


class AccessContract:
    """Inherited with `StoreContract`."""

    def test_a_token_comes_back_as_it_was_newest_first(self, store: Store) -> None:
        assert store.tokens() == []
        older, newer = a_token("ada"), a_token("bob", created_at=2.0)
        assert store.add_token(older)
        assert store.add_token(newer)
        assert store.tokens() == [newer, older]

    def test_a_person_has_one_good_token_and_may_have_another_once_it_is_revoked(self, store: Store) -> None:
        assert store.add_token(a_token("ada", "first"))
        assert not store.add_token(a_token("ada", "second"))
        assert [token.hash for token in store.tokens()] == ["first"]
        assert store.revoke_token("ada", at=5.0)
        assert not store.revoke_token("ada", at=6.0)
        assert store.add_token(a_token("ada", "second", created_at=7.0))
        assert [(t.hash, t.revoked_at) for t in store.tokens()] == [("second", None), ("first", 5.0)]

    def test_looks_are_only_added_and_listed_by_dataset_and_split(self, store: Store) -> None:
        looks = [
            Look(dataset_id="d", split="test", at=1.0, by="ada", what="compare"),
            Look(dataset_id="d", split="dev", at=2.0, by="bob", what="traces"),
            Look(dataset_id="other", split="test", at=3.0, by="ada", what="label"),
            Look(dataset_id="d", split="test", at=1.0, by="ada", what="compare"),
        ]
        for look in looks:
            store.note_look(look)
        assert store.looks("d") == [looks[0], looks[1], looks[3]]
        assert store.looks("d", split="dev") == [looks[1]]
        assert store.looks("none") == []

    def test_a_secret_is_kept_by_the_first_and_the_same_for_all(
        self, store: Store, make_store: Callable[[], Store]
    ) -> None:
        found: list[str] = []

        def ask(n: int) -> None:
            with make_store() as other:
                found.append(other.keep_secret("page", f"fresh {n}"))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert store.keep_secret("page", "later") == found[0]
        assert store.keep_secret("another", "its own") == "its own"
