// Approvals as operators meet them: JSON in and out, roles and refusals. The rules have tests of
// their own (server/approvals_test).

#include "admin/api_fixture.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kAsk =
    R"({"policy":"growth","counter":"team=growth","amount":"20.50","duration":"24h","reason":"launch"})";

class ApprovalsApiTest : public ApiFixture {
 protected:
  ApprovalsApiTest() {
    config::Config file = config::EmbeddedDefault();
    config::Policy policy;
    policy.id = "growth";
    policy.owner = "growth-lead";
    policy.unit = config::QuotaUnit::kUsd;
    policy.limit = 100'000'000'000;
    policy.per = {config::Dimension::kTeam};
    file.policies.push_back(policy);
    policy.id = "count";
    policy.unit = config::QuotaUnit::kRequests;
    policy.per.clear();
    policy.approval.approvers = {"carol"};
    file.policies.push_back(policy);
    Use(std::move(file));
    Hire("alice", "approver");
    Hire("bob", "approver");
    Hire("carol", "admin");
    Hire("dave", "viewer");
    events_.clear();
  }
  std::string Ask(std::string_view body = kAsk, std::string_view who = "alice") {
    return std::string(
        Json(As(who, "POST", "/admin/v1/approvals", body), 201).at("id").as_string());
  }
  std::string Path(const std::string& id, const std::string& verb) {
    return "/admin/v1/approvals/" + id + (verb.empty() ? "" : "/" + verb);
  }
};

TEST_F(ApprovalsApiTest, FromRequestToReview) {
  const AdminResponse response = As("alice", "POST", "/admin/v1/approvals", kAsk);
  json::object shown = Json(response, 201);
  const std::string id(shown.at("id").as_string());
  EXPECT_THAT(response.headers, HasSubstr("location: /admin/v1/approvals/" + id + "\r\n"));
  EXPECT_EQ(shown.at("state").as_string(), "requested");
  EXPECT_EQ(shown.at("requester").as_string(), "alice");
  EXPECT_EQ(shown.at("asked").at("amount").as_string(), "20.5");
  EXPECT_EQ(shown.at("decide_by").as_string(), "2026-01-08T00:00:00Z");
  EXPECT_TRUE(config_->raises.empty());

  shown = Json(As("bob", "POST", Path(id, "approve"),
                  R"({"amount":10,"duration":"2h","rollback_owner":"growth-lead","note":"half"})"));
  EXPECT_EQ(shown.at("state").as_string(), "active");
  EXPECT_EQ(shown.at("decided_by").as_string(), "bob");
  EXPECT_EQ(shown.at("granted").at("amount").as_string(), "10");
  EXPECT_EQ(shown.at("granted").at("to").as_string(), "2026-01-01T02:00:00Z");
  // In force when the response is there.
  ASSERT_EQ(config_->raises.size(), 1U);
  EXPECT_EQ(config_->raises[0].amount, 10'000'000'000);
  EXPECT_EQ(config_->raises[0].values, "team=growth");
  EXPECT_EQ(config_->raises[0].approval, id);

  now_ = now_ + Seconds(2 * 3'600);
  ASSERT_TRUE(approvals_->Sweep());
  EXPECT_TRUE(config_->raises.empty());
  spent_ = 7'250'000'000;
  shown = Json(As("dave", "GET", Path(id, "")));
  EXPECT_EQ(shown.at("state").as_string(), "ended");
  EXPECT_EQ(shown.at("spent").as_string(), "7.25");
  EXPECT_EQ(Json(As("dave", "GET", "/admin/v1/approvals?review_missing=true"))
                .at("data")
                .as_array()
                .size(),
            1U);
  shown = Json(As("alice", "POST", Path(id, "review"), R"({"text":"7.25 of 10, fine"})"));
  EXPECT_EQ(shown.at("review").at("text").as_string(), "7.25 of 10, fine");
  EXPECT_TRUE(Json(As("dave", "GET", "/admin/v1/approvals?review_missing=true"))
                  .at("data")
                  .as_array()
                  .empty());
  std::vector<std::string> told;
  for (const telemetry::Event& event : events_) told.push_back(event.type);
  EXPECT_THAT(told, ElementsAre("approval.requested", "approval.decided", "approval.expired"));
  EXPECT_THAT(Trail(4), ElementsAre("alice approval.review approval:" + id + " done",
                                    "weir approval.end approval:" + id + " done",
                                    "bob approval.approve approval:" + id + " done",
                                    "alice approval.request approval:" + id + " done"));
}

TEST_F(ApprovalsApiTest, WhoAsked_IsRefused_AndItIsInTheTrail) {
  const std::string id = Ask();
  EXPECT_THAT(Problem(As("alice", "POST", Path(id, "approve")), 403, "forbidden"),
              HasSubstr("somebody else has to decide"));
  EXPECT_THAT(Trail(1), ElementsAre("alice approval.approve approval:" + id + " refused"));
  const std::string other =
      Ask(R"({"policy":"count","amount":5,"duration":"1h","reason":"x"})", "alice");
  EXPECT_THAT(Problem(As("bob", "POST", Path(other, "approve")), 403, "forbidden"),
              HasSubstr("Only these approve more of this policy: carol"));
  EXPECT_TRUE(config_->raises.empty());
  Json(As("carol", "POST", Path(other, "approve")));
  EXPECT_EQ(config_->raises.size(), 1U);
}

TEST_F(ApprovalsApiTest, AViewer_OnlyLooks) {
  const std::string id = Ask();
  for (const std::string verb : {"approve", "deny", "end", "review"}) {
    Problem(As("dave", "POST", Path(id, verb)), 403, "forbidden");
  }
  Problem(As("dave", "POST", "/admin/v1/approvals", kAsk), 403, "forbidden");
  EXPECT_EQ(Json(As("dave", "GET", "/admin/v1/approvals")).at("data").as_array().size(), 1U);
}

TEST_F(ApprovalsApiTest, Ask_RefusesWhatItDoesNotUnderstand_AndChangesNothing) {
  const std::int64_t seq = policies_->head().seq;
  struct Case {
    std::string_view body;
    std::string_view said;
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({})", "/policy"},
           {R"({"policy":"growth"})", "/amount"},
           {R"({"policy":"growth","amount":"1","duration":"1h"})", "/reason"},
           {R"({"policy":"growth","amount":1.5,"duration":"1h","reason":"x"})", "/amount"},
           {R"({"policy":"growth","amount":"0","duration":"1h","reason":"x"})", "above 0"},
           {R"({"policy":"growth","amount":"-1","duration":"1h","reason":"x"})", "/amount"},
           {R"({"policy":"growth","amount":"0.0000000001","duration":"1h","reason":"x"})",
            "/amount"},
           {R"({"policy":"count","amount":"1.5","duration":"1h","reason":"x"})",
            "an amount of requests"},
           {R"({"policy":"growth","amount":"1","duration":3600,"reason":"x"})", "/duration"},
           {R"({"policy":"growth","amount":"1","duration":"30","reason":"x"})", "with its unit"},
           {R"({"policy":"growth","amount":"1","duration":"400h","reason":"x"})", "is longer than"},
           {R"({"policy":"growth","amount":"1","duration":"1h","reason":7})", "/reason"},
           {R"({"policy":"growth","amount":"1","duration":"1h","reason":"x","from":"soon"})",
            "/from"},
           {R"({"policy":"growth","amount":"1","duration":"1h","reason":"x","counter":"user=a"})",
            "/counter"},
           {R"({"policy":"growth","amount":"1","duration":"1h","reason":"x","requester":"bob"})",
            "/requester"},
       }) {
    EXPECT_THAT(Problem(As("alice", "POST", "/admin/v1/approvals", c.body), 422, "invalid-request"),
                HasSubstr(std::string(c.said)))
        << c.body;
  }
  Problem(As("alice", "POST", "/admin/v1/approvals",
             R"({"policy":"nope","amount":"1","duration":"1h","reason":"x"})"),
          404, "not-found");
  EXPECT_EQ(policies_->head().seq, seq);
  EXPECT_TRUE(events_.empty());
}

TEST_F(ApprovalsApiTest, ADecision_RefusesWhatItDoesNotUnderstand) {
  const std::string id = Ask();
  for (const auto& [body, said] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"({"amount":"21"})", "at most what was asked for"},
           {R"({"amount":null})", "/amount"},
           {R"({"duration":"25h"})", "at most what was asked for"},
           {R"({"from":"2025-01-01"})", "must be in the future"},
           {R"({"approver":"carol"})", "/approver"},
           {R"({"note":1})", "/note"}}) {
    EXPECT_THAT(Problem(As("bob", "POST", Path(id, "approve"), body), 422, "invalid-request"),
                HasSubstr(said));
  }
  for (const std::string verb : {"approve", "deny", "end", "review"}) {
    Problem(As("bob", "POST", Path("apr_x", verb)), 404, "not-found");
    Problem(As("bob", "POST", Path("apr_00000000000000000000000001", verb)), 404, "not-found");
  }
  Problem(As("bob", "GET", Path("apr_00000000000000000000000001", "")), 404, "not-found");
  Problem(As("bob", "POST", Path(id, "end")), 409, "conflict");
  Json(As("bob", "POST", Path(id, "deny"), R"({"note":"next month"})"));
  EXPECT_EQ(Json(As("bob", "GET", Path(id, ""))).at("decision").as_string(), "next month");
  Problem(As("bob", "POST", Path(id, "approve")), 409, "conflict");
}

TEST_F(ApprovalsApiTest, EndedEarly_IsOutOfForceWhenTheResponseArrives) {
  const std::string id = Ask();
  Json(As("bob", "POST", Path(id, "approve")));
  EXPECT_EQ(config_->raises.size(), 1U);
  const json::object shown = Json(As("carol", "POST", Path(id, "end"), R"({"note":"over"})"));
  EXPECT_EQ(shown.at("state").as_string(), "ended");
  EXPECT_EQ(shown.at("ended_by").as_string(), "carol");
  EXPECT_TRUE(config_->raises.empty());
}

TEST_F(ApprovalsApiTest, TheList_IsByStateAndInPages) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(Ask());
    now_ = now_ + Seconds(1);
  }
  Json(As("bob", "POST", Path(ids[1], "approve")));
  Json(As("bob", "POST", Path(ids[3], "deny")));
  const auto listed = [&](const std::string& query) {
    std::string out;
    const json::object page = Json(As("dave", "GET", "/admin/v1/approvals" + query));
    for (const json::value& approval : page.at("data").as_array()) {
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (approval.at("id").as_string() == ids[i]) out += std::to_string(i);
      }
    }
    return out + (page.at("next_cursor").is_null() ? "." : "+");
  };
  EXPECT_EQ(listed(""), "43210.");
  EXPECT_EQ(listed("?state=requested"), "420.");
  EXPECT_EQ(listed("?state=active"), "1.");
  EXPECT_EQ(listed("?state=denied"), "3.");
  EXPECT_EQ(listed("?limit=2"), "43+");
  EXPECT_EQ(listed("?limit=2&cursor=" + ids[3]), "21+");
  for (const std::string query : {"?state=open", "?cursor=x", "?review_missing=1", "?who=alice"}) {
    Problem(As("dave", "GET", "/admin/v1/approvals" + query), 422, "invalid-request");
  }
}

TEST_F(ApprovalsApiTest, TheTrail_VerifiesAfterAllOfIt) {
  const std::string id = Ask();
  As("alice", "POST", Path(id, "approve"));
  Json(As("bob", "POST", Path(id, "approve")));
  Json(As("bob", "POST", Path(id, "end")));
  const auto check = store::VerifyAudit(policies_path_, policies_->head());
  ASSERT_TRUE(check);
  EXPECT_EQ(check->first_bad, 0) << check->why;
}

}  // namespace
}  // namespace weir::admin
