// The policies resource: those of the file, which the file alone changes, and those made here, in
// all their versions. What is put here is read by the parser of the file, so it means the same.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "config/policy_text.h"
#include "config/scalar.h"
#include "store/policy_store.h"

namespace weir::admin {

namespace {

using config::Policy;
using store::PolicyVersion;

constexpr std::size_t kPolicyIdMax = 64;

// "match.model" as RFC 6901 has it: "/match/model"; "policies[2].limit" as "/policies/2/limit".
std::string PointerOf(std::string_view path) {
  std::string pointer;
  bool is_start = true;
  for (const char c : path) {
    if (c == ']') continue;
    if (is_start || c == '.' || c == '[') pointer += '/';
    is_start = false;
    if (c != '.' && c != '[') pointer += c;
  }
  return pointer;
}

AdminResponse Invalid(const std::vector<config::ConfigError>& faults) {
  std::vector<FieldError> errors;
  for (const config::ConfigError& fault : faults) {
    errors.push_back(
        {.pointer = PointerOf(fault.path),
         .parameter = {},
         .detail = fault.fix.empty() ? fault.message : fault.message + "; " + fault.fix});
  }
  return InvalidBody(errors);
}

// The text of the body, JSON or YAML, or the response that refuses it.
std::expected<std::string_view, AdminResponse> PolicyText(const Call& call) {
  std::string_view type = call.request.Find("content-type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (gateway::EqualsIgnoreCase(type, "application/yaml")) {
    if (static_cast<std::int64_t>(call.request.body.size()) > kBodyBytesMax) {
      return std::unexpected(BodyTooLarge());
    }
    return call.request.body;
  }
  // JSON is read as such first: its faults are said in its own words.
  const auto body = ParseBody(call.request);
  if (!body) return std::unexpected(body.error());
  return call.request.body;
}

void WritePolicy(const Policy& policy, const PolicyVersion* stored, JsonWriter& json) {
  json.Open('{')
      .Text("id", policy.id)
      .Text("source", stored == nullptr ? "file" : "stored")
      .Number("version", policy.version)
      .Json("policy", config::FormatPolicy(policy, config::Defaults::kWritten));
  if (stored == nullptr) {
    json.Null("created_at").Null("created_by");
  } else {
    json.Time("created_at", stored->created_at).Text("created_by", stored->created_by);
  }
  json.Close('}');
}

const Policy* InFile(const Call& call, std::string_view id,
                     std::shared_ptr<const config::Config>& file) {
  file = call.ports.policies.file();
  const auto found = std::ranges::find(file->policies, id, &Policy::id);
  return found == file->policies.end() ? nullptr : &*found;
}

AdminResponse OfTheFile() {
  return Problem(ProblemType::kConflict,
                 "The policy is one of the configuration file, which the API does not change: "
                 "change the file and reload, or take it out there first.");
}

AdminResponse NoPolicy() {
  return Problem(ProblemType::kNotFound, "There is no policy of this id.");
}

// The version that the caller has seen: "3" of If-Match. None when it does not say.
std::expected<std::optional<std::uint32_t>, AdminResponse> SeenVersion(const Call& call) {
  if (call.request.Count("if-match") == 0) return std::nullopt;
  std::string_view text = call.request.Find("if-match");
  if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"')) {
    text = text.substr(1, text.size() - 2);
  }
  const auto version = config::ParseCount(text);
  if (call.request.Count("if-match") > 1 || !version || *version < 0 || *version > INT32_MAX) {
    const std::array errors = {FieldError{.pointer = {},
                                          .parameter = "if-match",
                                          .detail = "must be a version, such as \"3\"; 0 where "
                                                    "there must be none yet"}};
    return std::unexpected(InvalidBody(errors));
  }
  return static_cast<std::uint32_t>(*version);
}

AdminResponse ChangedMeanwhile(std::uint32_t version) {
  return Problem(ProblemType::kConflict,
                 version == 0
                     ? std::string("There is no such policy any more, or not yet; look at "
                                   "it again.")
                     : fmt::format("The policy is at version {} now; look at it again.", version));
}

}  // namespace

AdminResponse ListPolicies(const Call& call) {
  static constexpr std::array<std::string_view, 2> kKnown = {"source", "owner"};
  QueryReader query(call.request.query, kKnown);
  const auto source = query.Text("source");
  if (source && *source != "file" && *source != "stored") {
    query.Refuse("source", "must be file or stored");
  }
  const auto owner = query.Text("owner");
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto active = call.ports.policies.store->Active();
  if (!active) return Problem(active.error());
  std::map<std::string_view, const PolicyVersion*> stored;
  for (const PolicyVersion& version : *active) stored.emplace(version.id, &version);
  const auto config = call.ports.config();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const Policy& policy : config->policies) {
    const auto found = stored.find(policy.id);
    const PolicyVersion* const version =
        policy.stored && found != stored.end() ? found->second : nullptr;
    if (source && (*source == "stored") != policy.stored) continue;
    if (owner && *owner != policy.owner) continue;
    WritePolicy(policy, version, json);
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetPolicy(const Call& call) {
  const auto config = call.ports.config();
  const auto policy = std::ranges::find(config->policies, call.id, &Policy::id);
  if (policy == config->policies.end()) return NoPolicy();
  const auto stored = call.ports.policies.store->Find(call.id);
  if (!stored) return Problem(stored.error());
  JsonWriter json;
  WritePolicy(*policy, policy->stored && *stored ? &**stored : nullptr, json);
  AdminResponse response = JsonResponse(json.Take());
  response.headers = fmt::format("etag: \"{}\"\r\n", policy->version);
  return response;
}

AdminResponse ListPolicyVersions(const Call& call) {
  const auto versions = call.ports.policies.store->Versions(call.id);
  if (!versions) return Problem(versions.error());
  std::shared_ptr<const config::Config> file;
  if (versions->empty() && InFile(call, call.id, file) == nullptr) return NoPolicy();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const PolicyVersion& version : *versions) {
    json.Open('{')
        .Number("version", version.version)
        .Text("state", version.retired_at ? "retired" : "active")
        .Json("policy", version.json)
        .Time("created_at", version.created_at)
        .Text("created_by", version.created_by)
        .Time("retired_at", version.retired_at)
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse ValidatePolicies(const Call& call) {
  const auto text = PolicyText(call);
  if (!text) return text.error();
  const auto policies = call.ports.policies.read(*text);
  if (!policies) return Invalid(policies.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const Policy& policy : *policies) {
    std::shared_ptr<const config::Config> file;
    json.Open('{')
        .Text("id", policy.id)
        .Flag("in_file", InFile(call, policy.id, file) != nullptr)
        .Json("policy", config::FormatPolicy(policy))
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse PutPolicy(const Call& call) {
  const auto seen = SeenVersion(call);
  if (!seen) return seen.error();
  const auto text = PolicyText(call);
  if (!text) return text.error();
  auto policies = call.ports.policies.read(*text);
  if (!policies) return Invalid(policies.error());
  std::vector<FieldError> errors;
  if (policies->size() != 1) {
    errors.push_back({.pointer = "", .parameter = {}, .detail = "must be one policy"});
  } else if (policies->front().id != call.id) {
    errors.push_back(
        {.pointer = "/id",
         .parameter = {},
         .detail = "is not the one of the path: " + std::string(call.id.substr(0, kPolicyIdMax))});
  }
  if (!errors.empty()) return InvalidBody(errors);
  Policy& policy = policies->front();
  std::shared_ptr<const config::Config> file;
  if (InFile(call, policy.id, file) != nullptr) return OfTheFile();

  const auto before = call.ports.policies.store->Find(policy.id);
  if (!before) return Problem(before.error());
  const std::uint32_t current = *before ? (*before)->version : 0;
  if (*seen && **seen != current) return ChangedMeanwhile(current);
  const auto next = call.ports.policies.store->NextVersion(policy.id);
  if (!next) return Problem(next.error());
  // Versions are counted here: one in the text is of another place.
  policy.version = *next;
  policy.stored = true;
  const PolicyVersion version{.id = policy.id,
                              .version = *next,
                              .json = config::FormatPolicy(policy),
                              .created_at = call.now,
                              .created_by = std::string(call.actor),
                              .retired_at = {}};
  const auto put =
      call.ports.policies.store->Put(version, {.at = call.now,
                                               .actor = std::string(call.actor),
                                               .action = "policy.put",
                                               .object = "policy:" + policy.id,
                                               .before = *before ? (*before)->json : std::string(),
                                               .after = version.json,
                                               .reason = {},
                                               .outcome = "done"});
  if (!put) return Problem(put.error());
  if (auto changed = call.ports.policies.changed(); !changed) return Problem(changed.error());
  JsonWriter json;
  WritePolicy(policy, &version, json);
  AdminResponse response = JsonResponse(json.Take(), current == 0 ? 201 : 200);
  response.headers = fmt::format("etag: \"{}\"\r\n", policy.version);
  if (current == 0) response.headers += "location: /admin/v1/policies/" + policy.id + "\r\n";
  return response;
}

AdminResponse DeletePolicy(const Call& call) {
  const auto seen = SeenVersion(call);
  if (!seen) return seen.error();
  const auto before = call.ports.policies.store->Find(call.id);
  if (!before) return Problem(before.error());
  if (!*before) {
    std::shared_ptr<const config::Config> file;
    return InFile(call, call.id, file) != nullptr ? OfTheFile() : NoPolicy();
  }
  if (*seen && **seen != (*before)->version) return ChangedMeanwhile((*before)->version);
  const auto retired =
      call.ports.policies.store->Retire(call.id, {.at = call.now,
                                                  .actor = std::string(call.actor),
                                                  .action = "policy.delete",
                                                  .object = "policy:" + (*before)->id,
                                                  .before = (*before)->json,
                                                  .after = {},
                                                  .reason = {},
                                                  .outcome = "done"});
  if (!retired) return Problem(retired.error());
  if (auto changed = call.ports.policies.changed(); !changed) return Problem(changed.error());
  JsonWriter json;
  json.Open('{')
      .Text("id", (*before)->id)
      .Number("version", (*before)->version)
      .Text("state", "retired")
      .Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
