// The contract and the code, held equal: api/openapi.yaml against the table of the admin API, the
// operations of the gateway, the problems and the refusals.

#include "admin/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <set>
#include <sstream>

#include "admin/problem.h"
#include "admin/public_docs.h"
#include "base/error_list.h"
#include "gateway/operation.h"
#include "gateway/ports.h"

namespace weir::admin {
namespace {

using Routing = std::set<std::pair<std::string, std::string>>;  // method, path

YAML::Node Contract() { return YAML::Load(std::string(OpenApiYaml())); }

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

bool IsMethod(const std::string& key) {
  return key == "get" || key == "post" || key == "put" || key == "patch" || key == "delete";
}

// A path belongs to the admin listener when it names that server.
Routing ContractRoutes(bool admin) {
  Routing routes;
  for (const auto& path : Contract()["paths"]) {
    if (path.second["servers"].IsDefined() != admin) continue;
    for (const auto& member : path.second) {
      if (IsMethod(member.first.as<std::string>())) {
        routes.emplace(Upper(member.first.as<std::string>()), path.first.as<std::string>());
      }
    }
  }
  return routes;
}

TEST(Contract, TheEmbeddedText_IsTheFile) {
  std::ifstream in(WEIR_SOURCE_DIR "/api/openapi.yaml", std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), OpenApiYaml());
}

TEST(Contract, HasEveryRouteOfTheTable_AndNoOther) {
  Routing table;
  for (const Route& route : Routes()) {
    // Probes are on both listeners, and described once.
    if (route.path == "/livez" || route.path == "/readyz") continue;
    EXPECT_TRUE(table.emplace(route.method, route.path).second) << route.path << " twice";
  }
  EXPECT_EQ(table, ContractRoutes(/*admin=*/true));
}

TEST(Contract, SaysOfEveryRouteWhetherItNeedsTheToken) {
  const YAML::Node paths = Contract()["paths"];
  for (const Route& route : Routes()) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const YAML::Node security = paths[std::string(route.path)][method]["security"];
    ASSERT_TRUE(security.IsDefined()) << route.path;
    EXPECT_EQ(security.size(), route.access == Access::kOpen ? 0U : 1U) << route.path;
    if (security.size() == 1) {
      EXPECT_TRUE(security[0]["adminToken"].IsDefined());
    }
  }
}

TEST(Contract, EveryPublicPath_IsServed) {
  for (const auto& [method, path] : ContractRoutes(/*admin=*/false)) {
    if (!path.starts_with("/v1/") && !path.starts_with("/v1beta/")) continue;
    std::string target = path;
    if (const auto at = target.find("{model}"); at != std::string::npos) target.replace(at, 7, "m");
    std::string_view allow;
    gateway::RequestHead head;
    head.method = method;
    head.path = target;
    head.headers = {{"upgrade", "websocket"}};
    const auto operation = gateway::FindOperation(head, allow);
    if (operation) continue;
    EXPECT_EQ(operation.error(), Refusal::kUpgradeRefused) << method << " " << path;
  }
  const config::Config config;
  for (const std::string_view path : {"/llms.txt", "/llms-full.txt", "/openapi.yaml"}) {
    EXPECT_TRUE(Contract()["paths"][std::string(path)].IsDefined());
    EXPECT_TRUE(DocsPage(config, path, "localhost").has_value());
  }
}

TEST(Contract, NamesEveryRefusal) {
  const YAML::Node error = Contract()["components"]["schemas"]["Error"]["properties"]["error"];
  const auto names = [&](const char* member) {
    std::set<std::string> out;
    for (const auto& value : error["properties"][member]["enum"]) {
      if (!value.IsNull()) out.insert(value.as<std::string>());
    }
    return out;
  };
  std::set<std::string> codes;
  std::set<std::string> types;
  for (const RefusalText& text : kRefusalTexts) {
    if (!text.code.empty()) codes.insert(std::string(text.code));
    if (!text.type.empty()) types.insert(std::string(text.type));
  }
  EXPECT_EQ(names("code"), codes);
  EXPECT_EQ(names("type"), types);
  const YAML::Node responses = Contract()["paths"]["/v1/responses"]["post"]["responses"];
  const YAML::Node socket = Contract()["paths"]["/v1/responses"]["get"]["responses"];
  for (const RefusalText& text : kRefusalTexts) {
    const std::string status = std::to_string(text.status);
    EXPECT_TRUE(responses[status].IsDefined() || socket[status].IsDefined()) << text.name;
  }
}

TEST(Contract, NamesEveryProblem) {
  std::set<std::string> contract;
  const YAML::Node types = Contract()["components"]["schemas"]["Problem"]["properties"]["type"];
  for (const auto& value : types["enum"]) contract.insert(value.as<std::string>());
  std::set<std::string> code = {"about:blank"};
  for (int i = 0; i <= static_cast<int>(ProblemType::kUnavailable); ++i) {
    code.insert(ProblemUri(static_cast<ProblemType>(i)));
  }
  EXPECT_EQ(contract, code);
}

// Every $ref leads somewhere.
void CollectRefs(const YAML::Node& node, std::set<std::string>& refs) {
  if (node.IsSequence()) {
    for (const auto& element : node) CollectRefs(element, refs);
  } else if (node.IsMap()) {
    for (const auto& member : node) {
      if (member.first.as<std::string>() == "$ref") {
        refs.insert(member.second.as<std::string>());
      } else {
        CollectRefs(member.second, refs);
      }
    }
  }
}

TEST(Contract, EveryReference_LeadsSomewhere) {
  std::set<std::string> refs;
  CollectRefs(Contract(), refs);
  EXPECT_GT(refs.size(), 30U);
  for (const std::string& ref : refs) {
    ASSERT_TRUE(ref.starts_with("#/")) << ref;
    YAML::Node node = Contract();
    std::istringstream parts(ref.substr(2));
    for (std::string part; std::getline(parts, part, '/');) {
      ASSERT_TRUE(node[part].IsDefined()) << ref;
      node.reset(node[part]);
    }
  }
}

TEST(MatchPath, TakesOneSegmentForTheId) {
  struct Case {
    std::string_view pattern;
    std::string_view path;
    bool matches;
    std::string_view id;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"/a", "/a", true, ""},
           {"/a", "/a/", false, ""},
           {"/a", "/ab", false, ""},
           {"/a/{id}", "/a/x", true, "x"},
           {"/a/{id}", "/a/", false, ""},
           {"/a/{id}", "/a", false, ""},
           {"/a/{id}", "/a/x/y", false, ""},
           {"/a/{id}/b", "/a/x/b", true, "x"},
           {"/a/{id}/b", "/a//b", false, ""},
           {"/a/{id}/b", "/a/x/b/", false, ""},
           {"/a/{id}/b", "/a/x", false, ""},
       }) {
    const Match match = MatchPath(c.pattern, c.path);
    EXPECT_EQ(match.matches, c.matches) << c.pattern << " " << c.path;
    EXPECT_EQ(match.id, c.id) << c.pattern << " " << c.path;
  }
}

}  // namespace
}  // namespace weir::admin
