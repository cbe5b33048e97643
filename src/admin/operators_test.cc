// Operators, and what each role may do: the whole table of routes, by every role.

#include <set>

#include "admin/api_fixture.h"
#include "admin/routes.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using OperatorsTest = ApiFixture;

// Written down here a second time: what is in neither list is the admins' alone.
const std::set<std::string> kApproversRoutes = {
    "POST /admin/v1/approvals",
    "POST /admin/v1/approvals/{id}/approve",
    "POST /admin/v1/approvals/{id}/deny",
    "POST /admin/v1/approvals/{id}/end",
    "POST /admin/v1/approvals/{id}/review",
};
// These read, although they have a body.
const std::set<std::string> kReadingRoutes = {
    "POST /admin/v1/policies/validate",
    "POST /admin/v1/policies/evaluate",
};

TEST_F(OperatorsTest, EveryRoute_ByEveryRole_IsAllowedOrRefusedByTheTable) {
  Hire("viewer", "viewer");
  Hire("approver", "approver");
  Hire("second", "admin");
  int refused = 0;
  for (const Route& route : Routes()) {
    if (route.access == Access::kOpen) continue;
    const std::string name = std::string(route.method) + " " + std::string(route.path);
    const bool for_viewers = route.method == "GET" || kReadingRoutes.contains(name);
    const bool for_approvers = for_viewers || kApproversRoutes.contains(name);
    std::string path(route.path);
    if (const auto at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "x");
    for (const auto& [who, allowed] :
         {std::pair("viewer", for_viewers), std::pair("approver", for_approvers),
          std::pair("second", true), std::pair("admin", true)}) {
      // A body that is none: whoever may come in changes nothing.
      const AdminResponse response = As(who, route.method, path, "{");
      EXPECT_EQ(response.status != 403, allowed) << name << " " << who << ": " << response.body;
      if (response.status == 403) {
        ++refused;
        EXPECT_THAT(Problem(response, 403, "forbidden"), HasSubstr("this needs the role"));
        EXPECT_THAT(Trail(1),
                    ElementsAre(std::string(who) + " auth.refused route:" + name + " refused"));
      }
    }
  }
  EXPECT_GT(refused, 30);
}

TEST_F(OperatorsTest, WhatIsSaidOfNoRoute_IsTheAdmins) {
  EXPECT_EQ(Route{}.access, Access::kAdmin);
  for (const store::Role role : {store::Role::kViewer, store::Role::kApprover}) {
    EXPECT_FALSE(Allows(Access::kAdmin, role));
    EXPECT_TRUE(Allows(Access::kViewer, role));
  }
  EXPECT_FALSE(Allows(Access::kApprover, store::Role::kViewer));
  EXPECT_TRUE(Allows(Access::kApprover, store::Role::kApprover));
  EXPECT_TRUE(Allows(Access::kApprover, store::Role::kAdmin));
  EXPECT_TRUE(Allows(Access::kAdmin, store::Role::kAdmin));
}

TEST_F(OperatorsTest, Create_GivesTheTokenOnce_AndItsHashIsStored) {
  const AdminResponse response =
      As("admin", "POST", "/admin/v1/operators", R"({"name":"alice","role":"approver"})");
  const json::object made = Json(response, 201);
  const std::string token(made.at("token").as_string());
  const json::object& shown = made.at("operator").as_object();
  EXPECT_TRUE(token.starts_with("wadm_"));
  EXPECT_EQ(token.size(), 48U);
  EXPECT_EQ(shown.at("role").as_string(), "approver");
  EXPECT_EQ(shown.at("state").as_string(), "active");
  EXPECT_EQ(shown.at("created_by").as_string(), "admin");
  EXPECT_EQ(shown.at("display").as_string(), "wadm_..." + token.substr(44));
  EXPECT_THAT(response.headers, HasSubstr("location: /admin/v1/operators/op_"));
  EXPECT_EQ(operators_->FindByToken(TokenDigest(token))->name, "alice");
  const std::string list = As("=" + token, "GET", "/admin/v1/operators").body;
  EXPECT_THAT(list, HasSubstr("\"alice\""));
  EXPECT_THAT(list, Not(HasSubstr(token)));
  EXPECT_THAT(As("admin", "GET", "/admin/v1/audit/policies").body, Not(HasSubstr(token)));
}

TEST_F(OperatorsTest, Create_RefusesWhatItDoesNotUnderstand_AndChangesNothing) {
  for (const auto& [body, said] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"({})", "/name"},
           {R"({"name":"a"})", "is missing: viewer, approver, admin"},
           {R"({"name":"a","role":"root"})", "/role"},
           {R"({"name":"a b","role":"admin"})", "/name"},
           {R"({"name":"admin","role":"viewer"})", "the trail uses itself"},
           {R"({"name":"weir","role":"viewer"})", "the trail uses itself"},
           {R"({"name":"op_1","role":"viewer"})", "must not begin with op_"},
           {R"({"name":"key:x","role":"viewer"})", "/name"},
           {R"({"name":"a","role":"viewer","token":"x"})", "/token"},
       }) {
    EXPECT_THAT(Problem(As("admin", "POST", "/admin/v1/operators", body), 422, "invalid-request"),
                HasSubstr(said));
  }
  EXPECT_TRUE(operators_->All().empty());
  EXPECT_EQ(policies_->head().seq, 0);
  Hire("a", "viewer");
  Problem(As("admin", "POST", "/admin/v1/operators", R"({"name":"a","role":"admin"})"), 409,
          "conflict");
}

TEST_F(OperatorsTest, ADisabledOrDeletedOnesToken_StopsAtOnce) {
  const std::string id = Hire("alice", "viewer");
  Json(As("alice", "GET", "/admin/v1/status"));
  json::object shown =
      Json(As("admin", "PATCH", "/admin/v1/operators/" + id, R"({"state":"disabled"})"));
  EXPECT_EQ(shown.at("state").as_string(), "disabled");
  Problem(As("alice", "GET", "/admin/v1/status"), 401, "unauthorized");
  Json(As("admin", "PATCH", "/admin/v1/operators/alice", R"({"state":"active"})"));
  Json(As("alice", "GET", "/admin/v1/status"));
  shown = Json(As("admin", "DELETE", "/admin/v1/operators/alice"));
  EXPECT_EQ(shown.at("state").as_string(), "deleted");
  EXPECT_FALSE(shown.at("deleted_at").is_null());
  Problem(As("alice", "GET", "/admin/v1/status"), 401, "unauthorized");
  // Again by its id: nothing more happens. By its name there is none any more.
  const std::int64_t seq = policies_->head().seq;
  Json(As("admin", "DELETE", "/admin/v1/operators/" + id));
  Problem(As("admin", "DELETE", "/admin/v1/operators/alice"), 404, "not-found");
  Problem(As("admin", "PATCH", "/admin/v1/operators/" + id, R"({"state":"active"})"), 409,
          "conflict");
  EXPECT_EQ(policies_->head().seq, seq);
  // The list shows who is there, and who was, when asked.
  EXPECT_EQ(Json(As("admin", "GET", "/admin/v1/operators")).at("data").as_array().size(), 0U);
  EXPECT_EQ(
      Json(As("admin", "GET", "/admin/v1/operators?state=deleted")).at("data").as_array().size(),
      1U);
  Problem(As("admin", "GET", "/admin/v1/operators?state=gone"), 422, "invalid-request");
  // The name is free again, and is another's.
  EXPECT_NE(Hire("alice", "admin"), id);
}

TEST_F(OperatorsTest, AChangedRole_CountsForTheNextCall) {
  Hire("alice", "viewer");
  Problem(As("alice", "POST", "/admin/v1/keys", R"({"name":"k"})"), 403, "forbidden");
  Json(As("admin", "PATCH", "/admin/v1/operators/alice", R"({"role":"admin"})"));
  Json(As("alice", "POST", "/admin/v1/keys", R"({"name":"k"})"), 201);
  Json(As("admin", "PATCH", "/admin/v1/operators/alice", R"({"role":"approver"})"));
  Problem(As("alice", "POST", "/admin/v1/keys", R"({"name":"l"})"), 403, "forbidden");
  EXPECT_THAT(Problem(As("admin", "PATCH", "/admin/v1/operators/alice", R"({"name":"bob"})"), 422,
                      "invalid-request"),
              HasSubstr("is not known here"));
}

TEST_F(OperatorsTest, EveryTrail_NamesWhoDidIt) {
  Hire("alice", "admin");
  const json::object made = Json(As("alice", "POST", "/admin/v1/keys", R"({"name":"k"})"), 201);
  Json(As("alice", "PATCH",
          "/admin/v1/keys/" + std::string(made.at("key").as_object().at("id").as_string()),
          R"({"state":"disabled"})"));
  for (const json::value& entry :
       Json(As("alice", "GET", "/admin/v1/audit")).at("data").as_array()) {
    EXPECT_EQ(entry.at("actor").as_string(), "alice");
  }
  Hire("bob", "viewer");
  Json(As("alice", "PATCH", "/admin/v1/operators/bob", R"({"role":"approver"})"));
  Json(As("alice", "DELETE", "/admin/v1/operators/bob"));
  EXPECT_THAT(Trail(4), ElementsAre("alice operator.delete operator:bob done",
                                    "alice operator.change operator:bob done",
                                    "admin operator.create operator:bob done",
                                    "admin operator.create operator:alice done"));
  Problem(As("bob", "GET", "/admin/v1/audit/policies"), 401, "unauthorized");
  const json::object rows = Json(As("alice", "GET", "/admin/v1/audit/policies?limit=2"));
  const json::value& change = rows.at("data").at(1);
  EXPECT_EQ(change.at("action").as_string(), "operator.delete");
  EXPECT_EQ(change.at("before").as_string(), R"({"role":"approver","state":"active"})");
  EXPECT_EQ(change.at("after").as_string(), R"({"role":"approver","state":"deleted"})");
  EXPECT_EQ(rows.at("data").at(0).at("action").as_string(), "auth.refused");
  const json::object older = Json(
      As("alice", "GET",
         "/admin/v1/audit/policies?cursor=" + std::string(rows.at("next_cursor").as_string())));
  EXPECT_EQ(older.at("data").as_array().size(), 3U);
  EXPECT_TRUE(older.at("next_cursor").is_null());
}

TEST_F(OperatorsTest, WrongTokens_AreInTheTrail_AndAtMostFiveAMinute) {
  for (int i = 0; i < 20; ++i) {
    As("=wadm_guess", "DELETE", "/admin/v1/keys/canary-in-the-path");
    As("", "GET", "/admin/v1/status");
  }
  EXPECT_EQ(policies_->head().seq, 5);
  EXPECT_THAT(Trail(1),
              ElementsAre("unknown auth.refused route:DELETE /admin/v1/keys/{id} refused"));
  EXPECT_THAT(As("admin", "GET", "/admin/v1/audit/policies").body,
              Not(testing::AnyOf(HasSubstr("guess"), HasSubstr("canary"))));
}

TEST_F(OperatorsTest, TheTrail_VerifiesAfterAllOfIt) {
  Hire("alice", "admin");
  Json(As("alice", "DELETE", "/admin/v1/operators/alice"));
  As("alice", "GET", "/admin/v1/status");
  const auto check = store::VerifyAudit(policies_path_, policies_->head());
  ASSERT_TRUE(check);
  EXPECT_EQ(check->first_bad, 0) << check->why;
  EXPECT_EQ(check->head.seq, 3);
}

}  // namespace
}  // namespace weir::admin
