// Policies as an operator meets them, over the real store and the parser of the file.

#include "admin/api_fixture.h"

namespace weir::admin {
namespace {

namespace json = boost::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kPath = "/admin/v1/policies/support";
constexpr std::string_view kSupport =
    R"({"id":"support","owner":"support-lead","unit":"usd","limit":"500","match":{"team":"support"}})";

class PoliciesTest : public ApiFixture {
 protected:
  PoliciesTest() {
    config::Config file = config::EmbeddedDefault();
    config::Policy policy;
    policy.id = "of-the-file";
    policy.unit = config::QuotaUnit::kRequests;
    policy.limit = 100;
    policy.version = 4;
    file.policies.push_back(policy);
    Use(std::move(file));
  }
  const config::Policy* InForce(std::string_view id) { return server::FindPolicy(*config_, id); }
};

TEST_F(PoliciesTest, Put_MakesAPolicyThatIsInForceWhenTheResponseArrives) {
  const AdminResponse response = As("admin", "PUT", kPath, kSupport);
  const json::object made = Json(response, 201);
  EXPECT_EQ(made.at("source").as_string(), "stored");
  EXPECT_EQ(made.at("version").as_int64(), 1);
  EXPECT_EQ(made.at("created_by").as_string(), "admin");
  EXPECT_EQ(made.at("policy").at("limit").as_string(), "500");
  EXPECT_THAT(response.headers, HasSubstr("etag: \"1\"\r\n"));
  EXPECT_THAT(response.headers, HasSubstr("location: /admin/v1/policies/support\r\n"));
  ASSERT_NE(InForce("support"), nullptr);
  EXPECT_TRUE(InForce("support")->stored);
  EXPECT_EQ(InForce("support")->limit, 500'000'000'000);
  EXPECT_EQ(InForce("support")->version, 1U);
  EXPECT_EQ(Json(As("admin", "GET", kPath)), made);
  EXPECT_THAT(Trail(1), ElementsAre("admin policy.put policy:support done"));
}

TEST_F(PoliciesTest, PutAgain_IsTheNextVersion_AndAllVersionsStay) {
  Hire("alice", "admin");
  Json(As("admin", "PUT", kPath, kSupport), 201);
  std::string raised(kSupport);
  raised.replace(raised.find("500"), 3, "750.25");
  const AdminResponse again = As("alice", "PUT", kPath, raised);
  EXPECT_EQ(Json(again).at("version").as_int64(), 2);
  EXPECT_THAT(again.headers, Not(HasSubstr("location")));
  EXPECT_EQ(InForce("support")->limit, 750'250'000'000);
  const json::object versions = Json(As("admin", "GET", std::string(kPath) + "/versions"));
  ASSERT_EQ(versions.at("data").as_array().size(), 2U);
  const json::value& newest = versions.at("data").at(0);
  EXPECT_EQ(newest.at("version").as_int64(), 2);
  EXPECT_EQ(newest.at("state").as_string(), "active");
  EXPECT_EQ(newest.at("created_by").as_string(), "alice");
  EXPECT_EQ(newest.at("policy").at("limit").as_string(), "750.25");
  EXPECT_EQ(newest.at("policy").at("version").as_int64(), 2);
  EXPECT_EQ(versions.at("data").at(1).at("state").as_string(), "retired");
  EXPECT_EQ(versions.at("data").at(1).at("policy").at("limit").as_string(), "500");
  const store::AuditRow row = policies_->Audit(0, 1)->front();
  EXPECT_EQ(row.event.actor, "alice");
  EXPECT_THAT(row.event.before, HasSubstr("\"500\""));
  EXPECT_THAT(row.event.after, HasSubstr("\"750.25\""));
}

TEST_F(PoliciesTest, IfMatch_RefusesAPolicyThatChangedMeanwhile) {
  const auto put = [&](std::string_view match) {
    return As("admin", "PUT", kPath, kSupport, {{"If-Match", match}});
  };
  EXPECT_THAT(Problem(put("\"1\""), 409, "conflict"), HasSubstr("or not yet"));
  Json(put("0"), 201);
  EXPECT_THAT(Problem(put("0"), 409, "conflict"), HasSubstr("at version 1 now"));
  Json(put("\"1\""));
  Problem(put("1"), 409, "conflict");
  for (const std::string_view wrong : {"*", "x", "", "-1", "\"1\", \"2\"", "99999999999"}) {
    EXPECT_THAT(Problem(put(wrong), 422, "invalid-request"), HasSubstr("if-match")) << wrong;
  }
  Problem(As("admin", "DELETE", kPath, {}, {{"If-Match", "1"}}), 409, "conflict");
  Json(As("admin", "DELETE", kPath, {}, {{"If-Match", "2"}}));
  EXPECT_EQ(policies_->head().seq, 3);
}

TEST_F(PoliciesTest, Put_RefusesWhatTheParserDoesNotUnderstand_AndChangesNothing) {
  struct Case {
    std::string_view body;
    std::string_view said;
  };
  const int published = published_;
  for (const Case& c : std::initializer_list<Case>{
           {R"({"id":"support"})", "/unit"},
           {R"({"id":"support","unit":"usd","limit":"500","limmit":1})", "/limmit"},
           {R"({"id":"support","unit":"usd","limit":"1e3"})", "/limit"},
           {R"({"id":"support","unit":"usd","limit":"500","window":"fortnight"})", "/window"},
           {R"({"id":"support","unit":"usd","limit":"500","match":{"model":"nope"}})",
            "/match/model"},
           {R"({"id":"support","unit":"usd","limit":"500","timezone":"Mars/Olympus"})",
            "/timezone"},
           {R"({"id":"support","unit":"usd","limit":"500","action":"degrade","degrade_to":"nope"})",
            "/degrade_to"},
           {R"({"id":"other","unit":"usd","limit":"500"})", "is not the one of the path: support"},
       }) {
    EXPECT_THAT(Problem(As("admin", "PUT", kPath, c.body), 422, "invalid-request"),
                HasSubstr(std::string(c.said)));
  }
  EXPECT_THAT(Problem(As("admin", "PUT", kPath, "{"), 400, "invalid-json"), HasSubstr("cannot be"));
  Problem(As("admin", "PUT", kPath, R"({"id":"support","unit":"usd","unit":"usd","limit":"1"})"),
          400, "invalid-json");
  EXPECT_EQ(published_, published);
  EXPECT_EQ(InForce("support"), nullptr);
  EXPECT_EQ(policies_->head().seq, 0);
}

TEST_F(PoliciesTest, Yaml_IsTakenToo) {
  AdminRequest request{.method = "PUT",
                       .path = kPath,
                       .query = {},
                       .headers = {{"Host", "localhost"},
                                   {"Content-Type", "application/yaml; charset=utf-8"},
                                   {"Authorization", "Bearer wadm_test-token-0123456789"}},
                       .body = "id: support\nunit: usd\nlimit: 12.50\nper: [user]  # each\n"};
  const json::object made = Json(api().Handle(request), 201);
  EXPECT_EQ(made.at("policy").at("limit").as_string(), "12.5");
  request.headers[1].value = "text/plain";
  Problem(api().Handle(request), 415, "unsupported-media-type");
  request.headers[1].value = "application/yaml";
  const std::string large(static_cast<std::size_t>(kBodyBytesMax) + 1, ' ');
  request.body = large;
  Problem(api().Handle(request), 413, "too-large");
}

TEST_F(PoliciesTest, WhatTheFileHas_TheApiDoesNotChange) {
  for (const std::string_view method : {"PUT", "DELETE"}) {
    EXPECT_THAT(Problem(As("admin", method, "/admin/v1/policies/of-the-file",
                           R"({"id":"of-the-file","unit":"usd","limit":"1"})"),
                        409, "conflict"),
                HasSubstr("change the file and reload"));
  }
  const json::object shown = Json(As("admin", "GET", "/admin/v1/policies/of-the-file"));
  EXPECT_EQ(shown.at("source").as_string(), "file");
  EXPECT_EQ(shown.at("version").as_int64(), 4);
  EXPECT_TRUE(shown.at("created_at").is_null());
  EXPECT_TRUE(Json(As("admin", "GET", "/admin/v1/policies/of-the-file/versions"))
                  .at("data")
                  .as_array()
                  .empty());
}

TEST_F(PoliciesTest, Delete_TakesItOutOfForce_AndItsVersionsStay) {
  Json(As("admin", "PUT", kPath, kSupport), 201);
  const json::object gone = Json(As("admin", "DELETE", kPath));
  EXPECT_EQ(gone.at("state").as_string(), "retired");
  EXPECT_EQ(InForce("support"), nullptr);
  Problem(As("admin", "GET", kPath), 404, "not-found");
  Problem(As("admin", "DELETE", kPath), 404, "not-found");
  EXPECT_EQ(Json(As("admin", "GET", std::string(kPath) + "/versions")).at("data").as_array().size(),
            1U);
  Problem(As("admin", "GET", "/admin/v1/policies/nope/versions"), 404, "not-found");
  // Made again, it goes on counting.
  EXPECT_EQ(Json(As("admin", "PUT", kPath, kSupport), 201).at("version").as_int64(), 2);
  EXPECT_THAT(Trail(3), ElementsAre("admin policy.put policy:support done",
                                    "admin policy.delete policy:support done",
                                    "admin policy.put policy:support done"));
}

TEST_F(PoliciesTest, TheList_HasThoseOfTheFileAndTheStoredOnes) {
  Json(As("admin", "PUT", kPath, kSupport), 201);
  const auto ids = [&](std::string_view query) {
    std::string out;
    for (const json::value& policy :
         Json(As("admin", "GET", "/admin/v1/policies" + std::string(query)))
             .at("data")
             .as_array()) {
      out += std::string(policy.at("id").as_string()) + " ";
    }
    return out;
  };
  EXPECT_EQ(ids(""), "of-the-file support ");
  EXPECT_EQ(ids("?source=file"), "of-the-file ");
  EXPECT_EQ(ids("?source=stored"), "support ");
  EXPECT_EQ(ids("?owner=support-lead"), "support ");
  EXPECT_EQ(ids("?owner=nobody"), "");
  Problem(As("admin", "GET", "/admin/v1/policies?source=both"), 422, "invalid-request");
}

TEST_F(PoliciesTest, Validate_ChangesNothing_AndSaysWhatWouldBePut) {
  const AdminResponse response = As("admin", "POST", "/admin/v1/policies/validate",
                                    R"({"policies":[{"id":"a","unit":"usd","limit":"1"},
             {"id":"of-the-file","unit":"requests","limit":1}]})");
  const json::object read = Json(response);
  ASSERT_EQ(read.at("data").as_array().size(), 2U);
  EXPECT_EQ(read.at("data").at(0).at("id").as_string(), "a");
  EXPECT_FALSE(read.at("data").at(0).at("in_file").as_bool());
  EXPECT_TRUE(read.at("data").at(1).at("in_file").as_bool());
  EXPECT_EQ(InForce("a"), nullptr);
  EXPECT_EQ(policies_->head().seq, 0);
  EXPECT_THAT(Problem(As("admin", "POST", "/admin/v1/policies/validate",
                         R"({"policies":[{"id":"a","unit":"usd","limit":"x"}]})"),
                      422, "invalid-request"),
              AllOf(HasSubstr("/policies/0/limit"), HasSubstr("is not an amount")));
}

TEST_F(PoliciesTest, AFileThatTakesTheIdOver_Wins) {
  Json(As("admin", "PUT", kPath, kSupport), 201);
  config::Config file = *file_;
  file.policies.push_back(file.policies[0]);
  file.policies[1].id = "support";
  Use(std::move(file));
  EXPECT_EQ(Json(As("admin", "GET", kPath)).at("source").as_string(), "file");
  Problem(As("admin", "PUT", kPath, kSupport), 409, "conflict");
  // The stored one can still be taken away.
  Json(As("admin", "DELETE", kPath));
  EXPECT_EQ(Json(As("admin", "GET", kPath)).at("source").as_string(), "file");
}

}  // namespace
}  // namespace weir::admin
