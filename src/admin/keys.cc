// The keys resource. A key's secret leaves in the response to create or rotate and never again.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "config/attribute.h"
#include "identity/key_record.h"
#include "server/courier.h"
#include "server/events.h"
#include "store/key_store.h"

namespace weir::admin {

namespace {

using identity::KeyRecord;
using identity::KeyState;

constexpr std::int64_t kOverlapSecondsMax = 30LL * 24 * 3600;

// "expired" is not a stored state: it is a comparison with the clock, which is what a caller meets.
std::string_view StateText(const KeyRecord& key, Instant now) {
  if (key.state == KeyState::kActive && key.expires_at && *key.expires_at <= now) return "expired";
  return Name(key.state);
}

void WriteKey(const KeyRecord& key, Instant now, JsonWriter& json) {
  json.Text("id", KeyIdText(key.id))
      .Text("name", key.name)
      .Text("display", key.display)
      .Text("state", StateText(key, now))
      .Text("environment", key.environment)
      .Texts("permissions", key.permissions);
  if (key.models) {
    json.Texts("models", *key.models);
  } else {
    json.Null("models");
  }
  json.TextOrNull("workspace", key.workspace)
      .TextOrNull("package", key.package)
      .Flag("codex_adaptation", key.codex_adaptation)
      .Open("payload_rules", '[');
  for (const dialect::PayloadRule& rule : key.payload_rules) {
    json.Open('{').Text("path", dialect::PathText(rule)).Json("value", rule.value).Close('}');
  }
  json.Close(']').Flag("allow_downgrade", key.allow_downgrade).Open("attributes", '{');
  for (const auto& [dimension, value] : key.attributes) json.Text(Name(dimension), value);
  json.Close('}')
      .Texts("metadata", config::DimensionNames(key.metadata))
      .Open("limits", '{')
      .Number("requests_per_minute", key.limits.requests_per_minute)
      .Number("tokens_per_minute", key.limits.tokens_per_minute)
      .Number("concurrent_requests", key.limits.concurrent_requests)
      .Usd("budget_usd", key.limits.budget)
      .Close('}')
      .Time("created_at", key.created_at)
      .Time("expires_at", key.expires_at)
      .Time("rotated_at", key.rotated_at)
      .Time("revoked_at", key.revoked_at)
      .Time("previous_secret_valid_until", key.previous && key.previous->valid_until > now
                                               ? std::optional(key.previous->valid_until)
                                               : std::nullopt);
}

AdminResponse KeyResponse(const KeyRecord& key, Instant now) {
  JsonWriter json;
  json.Open('{');
  WriteKey(key, now, json);
  json.Close('}');
  return JsonResponse(json.Take());
}

AdminResponse SecretResponse(const identity::MadeKey& made, Instant now, int status) {
  JsonWriter json;
  json.Open('{').Open("key", '{');
  WriteKey(made.record, now, json);
  json.Close('}').Text("secret", made.secret.Reveal()).Close('}');
  AdminResponse response = JsonResponse(json.Take(), status);
  if (status == 201) {
    response.headers = "location: /admin/v1/keys/" + KeyIdText(made.record.id) + "\r\n";
  }
  return response;
}

void ReadLimits(ObjectReader& reader, config::KeyLimits& limits) {
  const auto count = [&](std::string_view name, std::string_view path, std::int64_t& out) {
    reader.Count(name, 0, config::FindOption(path)->max, out);
  };
  count("requests_per_minute", "keys[].limits.requests_per_minute", limits.requests_per_minute);
  count("tokens_per_minute", "keys[].limits.tokens_per_minute", limits.tokens_per_minute);
  count("concurrent_requests", "keys[].limits.concurrent_requests", limits.concurrent_requests);
  reader.UsdOrNull("budget_usd", limits.budget);
  reader.Finish();
}

// What is set in its requests, in this order. A list replaces the one before.
void ReadPayloadRules(ObjectReader& reader, std::vector<dialect::PayloadRule>& out) {
  auto items = reader.Objects("payload_rules", dialect::kPayloadRulesMax);
  if (!items) return;
  std::vector<dialect::PayloadRule> rules;
  for (ObjectReader& item : *items) {
    std::string path;
    const bool has_path = item.Text("path", "keys[].payload_rules[].path", path);
    if (!has_path && !item.Has("path")) item.Refuse("path", "is missing");
    const boost::json::value* value = item.Any("value");
    if (value == nullptr) item.Refuse("value", "is missing");
    item.Finish();
    if (!has_path || value == nullptr) continue;
    auto rule = dialect::ParsePayloadRule(path, boost::json::serialize(*value));
    if (rule) {
      rules.push_back(*std::move(rule));
    } else {
      item.Refuse("path", std::move(rule.error()));
    }
  }
  out = std::move(rules);  // used only when nothing was refused
}

// What policies tell its requests apart by. The object replaces the one before.
void ReadAttributes(ObjectReader& reader, std::vector<config::Attribute>& out) {
  auto object = reader.Object("attributes");
  if (!object) return;
  std::vector<config::Attribute> attributes;
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    const auto dimension = static_cast<config::Dimension>(i);
    if ((config::BitOf(dimension) & config::kAttributeBits) == 0) continue;
    const boost::json::value* value = object->Any(Name(dimension));
    if (value == nullptr) continue;
    const std::string_view text =
        value->is_string() ? std::string_view(value->get_string()) : std::string_view();
    const std::string_view fault =
        value->is_string() ? config::AttributeFault(text) : std::string_view("must be a string");
    if (!fault.empty()) object->Refuse(Name(dimension), std::string(fault));
    config::SetAttribute(attributes, dimension, text);
  }
  object->Finish();
  out = std::move(attributes);  // used only when nothing was refused
}

// What its requests may say of themselves without a signature. The list replaces the one before.
void ReadMetadata(ObjectReader& reader, std::uint32_t& out) {
  const boost::json::value* value = reader.Any("metadata");
  if (value == nullptr) return;
  std::uint32_t bits = 0;
  const auto* list = value->if_array();
  bool right = list != nullptr;
  for (std::size_t i = 0; right && i < list->size(); ++i) {
    const auto* name = (*list)[i].if_string();
    const auto dimension = name == nullptr ? std::nullopt : config::DimensionOf(*name);
    right = dimension && (config::BitOf(*dimension) & config::kAttributeBits) != 0;
    if (right) bits |= config::BitOf(*dimension);
  }
  if (right) {
    out = bits;
  } else {
    reader.Refuse("metadata",
                  fmt::format("must be a list of: {}",
                              fmt::join(config::DimensionNames(config::kAttributeBits), ", ")));
  }
}

void ReadExpiry(ObjectReader& reader, Instant now, std::optional<Instant>& expires_at) {
  if (reader.TimeOrNull("expires_at", expires_at) && expires_at && *expires_at <= now) {
    reader.Refuse("expires_at", "must be in the future");
  }
}

// Refuses `name` unless an object of the configuration is called that.
template <class Object>
void CheckName(const std::vector<Object>& known, const std::string& name, std::string_view member,
               ObjectReader& reader) {
  if (name.empty() || std::ranges::find(known, name, &Object::name) != known.end()) return;
  constexpr std::size_t kShown = 20;
  std::vector<std::string_view> names;
  for (const Object& object : known) {
    // "key:NAME" is what the accounts reserved for one key are put into; no other key may have it.
    if (names.size() < kShown && !object.name.contains(':')) names.push_back(object.name);
  }
  reader.Refuse(member, fmt::format("names no {} of the configuration; known are: {}", member,
                                    fmt::join(names, ", ")));
}

// Where a key belongs and what it is given. Only a name that is in the body is looked up: one that
// went out of the file since does not keep an operator from changing another thing of the key.
void ReadBelonging(ObjectReader& reader, const config::Config& config, std::string& workspace,
                   std::string& package) {
  // Without a list of them in the file, a workspace is a label the operator gives.
  if (reader.TextOrNull("workspace", "keys[].workspace", workspace) && !config.workspaces.empty()) {
    CheckName(config.workspaces, workspace, "workspace", reader);
  }
  if (reader.TextOrNull("package", "keys[].package", package)) {
    CheckName(config.packages, package, "package", reader);
  }
}

// The key the path names, or the response that says why there is none.
std::expected<identity::KeyRecordPtr, AdminResponse> FindKey(const Call& call) {
  const auto id = ParseKeyId(call.id);
  identity::KeyRecordPtr key = id ? call.ports.keys.table()->FindById(*id) : nullptr;
  if (key == nullptr) {
    return std::unexpected(Problem(ProblemType::kNotFound, "There is no key with this id."));
  }
  return key;
}

// A change of a key that callers must not see half: stored first, then published.
std::optional<AdminResponse> Store(const Call& call, const KeyRecord& key, std::string action,
                                   std::string detail) {
  const auto stored = call.ports.keys.Update(key, {.at = call.now,
                                                   .actor = std::string(call.actor),
                                                   .action = std::move(action),
                                                   .detail = std::move(detail)});
  if (!stored) return Problem(stored.error());
  call.ports.keys_changed();
  return std::nullopt;
}

// On its way when the response leaves.
void Tell(const Call& call, telemetry::Event event) {
  if (call.ports.courier != nullptr) call.ports.courier->Keep(std::move(event));
}

std::string LimitText(const config::KeyLimits& limits) {
  return fmt::format("rpm {} tpm {} concurrent {} budget {}", limits.requests_per_minute,
                     limits.tokens_per_minute, limits.concurrent_requests,
                     limits.budget ? FormatUsd(*limits.budget) : "none");
}

}  // namespace

AdminResponse CreateKey(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  const auto config = call.ports.config();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  identity::NewKey wanted;
  wanted.environment = config->environment;
  wanted.permissions = config::KeySpec{}.permissions;
  wanted.limits = config->key_defaults;
  if (!reader.Text("name", "keys[].name", wanted.name) && !reader.Has("name")) {
    reader.Refuse("name", "is missing");
  }
  reader.Text("environment", "keys[].environment", wanted.environment);
  reader.Texts("permissions", "keys[].permissions", ObjectReader::Null::kRefused,
               wanted.permissions);
  reader.Texts("models", "keys[].models", ObjectReader::Null::kMeansAll, wanted.models);
  ReadBelonging(reader, *config, wanted.workspace, wanted.package);
  reader.Flag("codex_adaptation", wanted.codex_adaptation);
  ReadPayloadRules(reader, wanted.payload_rules);
  reader.Flag("allow_downgrade", wanted.allow_downgrade);
  ReadAttributes(reader, wanted.attributes);
  ReadMetadata(reader, wanted.metadata);
  ReadExpiry(reader, call.now, wanted.expires_at);
  if (auto limits = reader.Object("limits")) ReadLimits(*limits, wanted.limits);
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);

  const auto random = call.ports.random();
  const auto more = call.ports.random();
  if (!random) return Problem(random.error());
  if (!more) return Problem(more.error());
  std::array<std::uint64_t, 2> id_bits{};
  std::memcpy(id_bits.data(), more->data(), sizeof id_bits);
  const identity::MadeKey made =
      MakeKey(wanted, KeyId{MakeId(call.now, id_bits[0], id_bits[1])}, config->brand.key_prefix,
              call.ports.pepper, *random, call.now);
  const auto stored =
      call.ports.keys.Insert(made.record, {.at = call.now,
                                           .actor = std::string(call.actor),
                                           .action = "create",
                                           .detail = LimitText(made.record.limits)});
  if (!stored) {
    if (stored.error().code == ErrorCode::kConflict) {
      return Problem(ProblemType::kConflict,
                     "There is a key of this name already; choose another name, or revoke it.");
    }
    return Problem(stored.error());
  }
  call.ports.keys_changed();
  Tell(call, server::KeyCreatedEvent(made.record, call.actor, call.now));
  return SecretResponse(made, call.now, 201);
}

AdminResponse ListKeys(const Call& call) {
  static constexpr std::array<std::string_view, 6> kKnown = {"limit",       "cursor", "name",
                                                             "environment", "state",  "workspace"};
  static constexpr std::array<std::string_view, 4> kStates = {"active", "disabled", "expired",
                                                              "revoked"};
  QueryReader query(call.request.query, kKnown);
  const auto limit =
      static_cast<std::size_t>(query.Count("limit", 1, kPageMax).value_or(kPageDefault));
  std::optional<KeyId> cursor;
  if (const auto text = query.Text("cursor")) {
    cursor = ParseKeyId(*text);
    if (!cursor) query.Refuse("cursor", "is not a cursor; use next_cursor of the page before");
  }
  const auto state = query.Text("state");
  if (state && std::ranges::find(kStates, *state) == kStates.end()) {
    query.Refuse("state", fmt::format("must be one of: {}", fmt::join(kStates, ", ")));
  }
  if (!query.errors().empty()) return InvalidBody(query.errors());

  const auto wanted = [&](std::string_view name, std::string_view value) {
    const auto filter = query.Text(name);
    return !filter || *filter == value;
  };
  const std::vector<identity::KeyRecordPtr> all = call.ports.keys.table()->All();
  JsonWriter json;
  json.Open('{').Open("data", '[');
  std::size_t count = 0;
  std::string next;
  std::string last;
  for (auto at = all.rbegin(); at != all.rend(); ++at) {  // newest first
    const KeyRecord& key = **at;
    if (cursor && !(key.id < *cursor)) continue;
    if (state && *state != StateText(key, call.now)) continue;
    if (!wanted("name", key.name) || !wanted("environment", key.environment) ||
        !wanted("workspace", key.workspace)) {
      continue;
    }
    if (count == limit) {
      next = last;
      break;
    }
    json.Open('{');
    WriteKey(key, call.now, json);
    json.Close('}');
    last = KeyIdText(key.id);
    ++count;
  }
  json.Close(']').TextOrNull("next_cursor", next).Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetKey(const Call& call) {
  const auto key = FindKey(call);
  return key ? KeyResponse(**key, call.now) : key.error();
}

AdminResponse PatchKey(const Call& call) {
  const auto key = FindKey(call);
  if (!key) return key.error();
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  static constexpr std::array<std::string_view, 2> kStates = {"active", "disabled"};
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  KeyRecord changed = **key;
  reader.Text("name", "keys[].name", changed.name);
  reader.Texts("permissions", "keys[].permissions", ObjectReader::Null::kRefused,
               changed.permissions);
  std::vector<std::string> models;
  if (reader.Texts("models", "keys[].models", ObjectReader::Null::kMeansAll, models)) {
    changed.models = identity::ModelAllowList(std::move(models));
  }
  ReadBelonging(reader, *call.ports.config(), changed.workspace, changed.package);
  reader.Flag("codex_adaptation", changed.codex_adaptation);
  ReadPayloadRules(reader, changed.payload_rules);
  reader.Flag("allow_downgrade", changed.allow_downgrade);
  ReadAttributes(reader, changed.attributes);
  ReadMetadata(reader, changed.metadata);
  ReadExpiry(reader, call.now, changed.expires_at);
  if (auto limits = reader.Object("limits")) ReadLimits(*limits, changed.limits);
  std::string state;
  if (reader.Choice("state", kStates, state)) {
    changed.state = state == "active" ? KeyState::kActive : KeyState::kDisabled;
  }
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  const KeyRecord& before = **key;
  if (before.state == KeyState::kRevoked) {
    return Problem(ProblemType::kConflict,
                   "The key is revoked, which is for good; create another one.");
  }

  // What changed, for the audit trail; nothing changed, nothing is written.
  std::vector<std::string> changes;
  const auto note = [&](bool differs, std::string text) {
    if (differs) changes.push_back(std::move(text));
  };
  const auto models_of = [](const KeyRecord& record) {
    return record.models ? fmt::format("[{}]", fmt::join(*record.models, " ")) : std::string("all");
  };
  note(before.name != changed.name, fmt::format("name {} -> {}", before.name, changed.name));
  note(before.permissions != changed.permissions,
       fmt::format("permissions [{}] -> [{}]", fmt::join(before.permissions, " "),
                   fmt::join(changed.permissions, " ")));
  note(models_of(before) != models_of(changed),
       fmt::format("models {} -> {}", models_of(before), models_of(changed)));
  const auto or_none = [](const std::string& text) {
    return text.empty() ? std::string_view("none") : std::string_view(text);
  };
  note(before.workspace != changed.workspace,
       fmt::format("workspace {} -> {}", or_none(before.workspace), or_none(changed.workspace)));
  note(before.package != changed.package,
       fmt::format("package {} -> {}", or_none(before.package), or_none(changed.package)));
  note(before.codex_adaptation != changed.codex_adaptation,
       fmt::format("codex_adaptation -> {}", changed.codex_adaptation));
  const auto rules_of = [](const KeyRecord& record) {
    std::vector<std::string> paths;
    for (const auto& rule : record.payload_rules) paths.push_back(dialect::PathText(rule));
    return fmt::format("[{}]", fmt::join(paths, " "));
  };
  note(before.payload_rules != changed.payload_rules,
       fmt::format("payload_rules {} -> {}", rules_of(before), rules_of(changed)));
  note(before.allow_downgrade != changed.allow_downgrade,
       fmt::format("allow_downgrade -> {}", changed.allow_downgrade));
  const auto attributes_of = [](const KeyRecord& record) {
    std::vector<std::string> texts;
    for (const auto& [dimension, value] : record.attributes) {
      texts.push_back(fmt::format("{}={}", Name(dimension), value));
    }
    return fmt::format("[{}]", fmt::join(texts, " "));
  };
  note(before.attributes != changed.attributes,
       fmt::format("attributes {} -> {}", attributes_of(before), attributes_of(changed)));
  note(before.metadata != changed.metadata,
       fmt::format("metadata [{}] -> [{}]", fmt::join(config::DimensionNames(before.metadata), " "),
                   fmt::join(config::DimensionNames(changed.metadata), " ")));
  note(before.expires_at != changed.expires_at, "expiry");
  note(before.limits != changed.limits,
       fmt::format("limits {} -> {}", LimitText(before.limits), LimitText(changed.limits)));
  note(before.state != changed.state,
       fmt::format("state {} -> {}", Name(before.state), Name(changed.state)));
  if (!changes.empty()) {
    std::string action = "change";
    if (before.state != changed.state) {
      action = changed.state == KeyState::kActive ? "enable" : "disable";
    } else if (before.limits != changed.limits) {
      action = "limits";
    }
    if (auto failed = Store(call, changed, std::move(action),
                            fmt::format("{}", fmt::join(changes, "; ")).substr(0, 1000))) {
      return std::move(*failed);
    }
  }
  return KeyResponse(changed, call.now);
}

AdminResponse RotateKey(const Call& call) {
  const auto key = FindKey(call);
  if (!key) return key.error();
  const auto body = ParseBody(call.request, /*may_be_empty=*/true);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  std::int64_t overlap_seconds = 0;
  reader.Count("overlap_seconds", 0, kOverlapSecondsMax, overlap_seconds);
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  if ((*key)->state == KeyState::kRevoked) {
    return Problem(ProblemType::kConflict,
                   "The key is revoked, which is for good; create another one.");
  }
  const auto random = call.ports.random();
  if (!random) return Problem(random.error());
  const identity::MadeKey made =
      Rotate(**key, call.ports.config()->brand.key_prefix, call.ports.pepper, *random, call.now,
             Seconds(overlap_seconds));
  if (auto failed = Store(call, made.record, "rotate",
                          fmt::format("old secret valid for {} s", overlap_seconds))) {
    return std::move(*failed);
  }
  return SecretResponse(made, call.now, 200);
}

AdminResponse RevokeKey(const Call& call) {
  const auto key = FindKey(call);
  if (!key) return key.error();
  if ((*key)->state == KeyState::kRevoked) return KeyResponse(**key, call.now);
  const KeyRecord revoked = identity::Revoke(**key, call.now);
  if (auto failed = Store(call, revoked, "revoke", "")) return std::move(*failed);
  Tell(call, server::KeyRevokedEvent(revoked, call.actor, call.now));
  return KeyResponse(revoked, call.now);
}

AdminResponse GetAudit(const Call& call) {
  static constexpr std::array<std::string_view, 2> kKnown = {"limit", "cursor"};
  QueryReader query(call.request.query, kKnown);
  const auto limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  const auto before = query.Count("cursor", 1, INT64_MAX).value_or(0);
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto entries = call.ports.keys.Audit(before, static_cast<int>(limit));
  if (!entries) return Problem(entries.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const store::AuditEntry& entry : *entries) {
    json.Open('{')
        .Number("sequence", entry.sequence)
        .Time("at", entry.note.at)
        .Text("actor", entry.note.actor)
        .Text("action", entry.note.action)
        .Text("key_id", KeyIdText(entry.key))
        .TextOrNull("detail", entry.note.detail)
        .Close('}');
  }
  const bool more =
      static_cast<std::int64_t>(entries->size()) == limit && entries->back().sequence > 1;
  json.Close(']')
      .TextOrNull("next_cursor", more ? std::to_string(entries->back().sequence) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
