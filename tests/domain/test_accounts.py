"""Accounts: who may manage them, and which roles count at this moment (CONTRACT sections 1 and 3)."""

import msgspec
import pytest

from parley.domain import accounts, audit, rooms
from parley.domain.accounts import Account
from parley.domain.principal import OPERATOR, Principal
from tests.stage import Stage, narrowed, somebody


class TestManaging:
    def test_a_new_account_is_told_without_its_hash(self, stage: Stage, root: Principal) -> None:
        made = stage.do(root, accounts.Create("Ada", "argon2-hash", ["member", "agent", "member"], name="Ada L."))
        account = made["account"]
        assert account == {
            "id": account["id"],
            "username": "Ada",
            "name": "Ada L.",
            "roles": ["agent", "member"],
            "disabled": False,
            "created_at": "2027-01-15T08:00:00.000Z",
        }
        assert "argon2-hash" not in str(stage.do(root, audit.List()))

    def test_a_username_is_taken_whatever_its_case(self, stage: Stage, root: Principal) -> None:
        stage.do(root, accounts.Create("Ada", "h", ["member"]))
        assert stage.refused(root, accounts.Create("aDA", "h", ["member"])) == "conflict"

    @pytest.mark.parametrize("username", ["acme:ada", "", "a b", "a\n", "ä", "x" * 129])
    def test_a_username_is_never_taken_for_a_subject_or_for_two_words(self, username: str) -> None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"username": username, "password": "p", "roles": ["member"]}, accounts.Create)

    def test_no_traceback_shows_a_password(self) -> None:
        for params in (accounts.Create("ada", "geheim", ["member"]), accounts.SetPassword("geheim", current="geheim")):
            assert "geheim" not in f"{params!r} {params}"

    def test_an_account_has_at_least_one_role(self, stage: Stage, root: Principal) -> None:
        ada = stage.account("ada")
        for params in (accounts.Create("x", "h", []), accounts.SetRoles(ada.subject, [])):
            refusal = stage.refusal(root, params)
            assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "roles"})

    def test_only_admins_manage(self, stage: Stage) -> None:
        ada = stage.account("ada", "member", "agent")
        for params in (
            accounts.Create("x", "h", ["member"]),
            accounts.List(),
            accounts.SetRoles(ada.subject, ["admin"]),
            accounts.Disable(ada.subject),
            audit.List(),
        ):
            assert stage.refused(ada, params) == "forbidden", params

    def test_a_narrowed_token_manages_nothing(self, stage: Stage, root: Principal) -> None:
        token = narrowed(root, {"room:*": ["read", "send", "manage"]})
        assert stage.refused(token, accounts.List()) == "forbidden"
        assert stage.refused(token, accounts.SetPassword("h")) == "forbidden"

    def test_accounts_are_listed_in_pages(self, stage: Stage, root: Principal) -> None:
        for name in ("a", "b", "c"):
            stage.account(name)
        first = stage.do(root, accounts.List(limit=3))
        rest = stage.do(root, accounts.List(limit=3, after=first["next"]))
        assert [account["username"] for account in first["accounts"] + rest["accounts"]] == ["root", "a", "b", "c"]
        assert rest["next"] is None

    def test_an_unknown_account_is_not_found(self, stage: Stage, root: Principal) -> None:
        assert stage.refused(root, accounts.SetRoles("nobody", ["member"])) == "not_found"
        assert stage.refused(root, accounts.Disable("nobody")) == "not_found"
        assert stage.refused(root, accounts.SetPassword("h", account="nobody")) == "not_found"

    def test_what_changes_nothing_tells_nobody(self, stage: Stage, root: Principal) -> None:
        ada = stage.account("ada")
        assert not stage.decide(root, accounts.SetRoles(ada.subject, ["member"])).changes
        assert stage.decide(root, accounts.Disable(ada.subject)).changes
        assert not stage.decide(root, accounts.Disable(ada.subject)).changes

    def test_one_sets_ones_own_password_and_an_admin_anybodys(self, stage: Stage, root: Principal) -> None:
        ada, ben = stage.account("ada"), stage.account("ben")
        stage.do(ada, accounts.SetPassword("new-hash", current="checked by the door"))
        assert stage.refused(ada, accounts.SetPassword("x", account=ben.subject)) == "forbidden"
        stage.do(root, accounts.SetPassword("other-hash", account=ben.subject))
        stored = {}
        for name in ("ada", "ben"):
            row = stage.decide(OPERATOR, accounts.Find(name)).reply
            assert isinstance(row, Account)
            stored[name] = row.password_hash
        assert stored == {"ada": "new-hash", "ben": "other-hash"}


class TestRolesNow:
    """Under a kept session the stored roles count; under any other token the claim's, as far as the store agrees."""

    def test_a_kept_session_follows_the_stored_roles(self, stage: Stage, root: Principal) -> None:
        ada = stage.account("ada")
        assert stage.refused(ada, accounts.List()) == "forbidden"
        stage.do(root, accounts.SetRoles(ada.subject, ["admin"]))
        stage.do(ada, accounts.List())
        stage.do(root, accounts.SetRoles(ada.subject, ["member"]))
        assert stage.refused(ada, accounts.List()) == "forbidden"

    def test_a_token_by_hand_has_its_claim_as_far_as_the_store_agrees(self, stage: Stage, root: Principal) -> None:
        ada = stage.account("ada")
        by_hand = somebody(ada.subject, "admin")
        assert stage.refused(by_hand, accounts.List()) == "forbidden"
        stage.do(root, accounts.SetRoles(ada.subject, ["admin"]))
        stage.do(by_hand, accounts.List())
        assert stage.refused(somebody(ada.subject, "member"), accounts.List()) == "forbidden"

    def test_a_subject_without_a_row_keeps_its_claim(self, stage: Stage) -> None:
        stage.do(somebody("acme:7", "admin"), accounts.List())

    def test_a_disabled_account_is_refused_whatever_its_token(self, stage: Stage, root: Principal) -> None:
        ada = stage.account("ada", "admin")
        stage.do(root, accounts.Disable(ada.subject))
        for token in (ada, msgspec.structs.replace(ada, kept=False)):
            assert stage.refused(token, rooms.Create(room="x")) == "token_revoked"
