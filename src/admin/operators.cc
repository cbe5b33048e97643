// The operators resource: who may use this API besides the holder of the admin token. A token
// leaves in the response that made it and never again.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/token.h"
#include "store/policy_store.h"

namespace weir::admin {

namespace {

using store::OperatorRecord;
using store::OperatorState;

constexpr std::string_view kPrefix = "op_";
// Whom the trail names that are no operators of this list.
constexpr std::array<std::string_view, 5> kReserved = {kFileOperator, "cli", "config", "unknown",
                                                       "weir"};

std::string IdText(const OperatorRecord& record) {
  return std::string(kPrefix) + ToString(record.id);
}

void WriteOperator(const OperatorRecord& record, JsonWriter& json) {
  json.Text("id", IdText(record))
      .Text("name", record.name)
      .Text("role", Name(record.role))
      .Text("state", Name(record.state))
      .Text("display", record.display)
      .Time("created_at", record.created_at)
      .Text("created_by", record.created_by)
      .Time("deleted_at", record.deleted_at);
}

std::string ShownAs(const OperatorRecord& record) {
  JsonWriter json;
  json.Open('{').Text("role", Name(record.role)).Text("state", Name(record.state)).Close('}');
  return json.Take();
}

AdminResponse OperatorResponse(const OperatorRecord& record) {
  JsonWriter json;
  json.Open('{');
  WriteOperator(record, json);
  json.Close('}');
  return JsonResponse(json.Take());
}

bool ReadRole(ObjectReader& reader, store::Role& role) {
  std::string text;
  if (!reader.Choice("role", store::kRoleNames, text)) return false;
  const auto at = std::ranges::find(store::kRoleNames, text);
  role = static_cast<store::Role>(at - store::kRoleNames.begin() + 1);
  return true;
}

// The operator that the path names by id or name, or the response that says why there is none.
std::expected<OperatorRecord, AdminResponse> FindOperator(const Call& call) {
  std::optional<OperatorRecord> found;
  if (call.id.starts_with(kPrefix)) {
    const auto id = ParseId(call.id.substr(kPrefix.size()));
    if (id) found = call.ports.operators->Find(store::OperatorId{*id});
  }
  if (!found) found = call.ports.operators->FindByName(call.id);
  if (found) return *std::move(found);
  return std::unexpected(Problem(ProblemType::kNotFound,
                                 "There is no operator of this id or name. The admin token is none "
                                 "of the list: it is replaced by removing its file."));
}

// The line first, then the change, then what became of it if that was not it: operators and their
// trail are in two files, and there must be no change without a line.
std::optional<AdminResponse> Write(const Call& call, std::string action,
                                   const OperatorRecord* before, const OperatorRecord& after) {
  store::AuditEvent event{.at = call.now,
                          .actor = std::string(call.actor),
                          .action = std::move(action),
                          .object = "operator:" + after.name,
                          .before = before == nullptr ? std::string() : ShownAs(*before),
                          .after = ShownAs(after),
                          .reason = {},
                          .outcome = "done"};
  if (auto noted = call.ports.policies.store->Note(event); !noted) return Problem(noted.error());
  const auto written =
      before == nullptr ? call.ports.operators->Insert(after) : call.ports.operators->Update(after);
  if (written) return std::nullopt;
  event.outcome = "failed";
  (void)call.ports.policies.store->Note(event);
  return Problem(written.error());
}

}  // namespace

AdminResponse CreateOperator(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  OperatorRecord record;
  if (reader.Text("name", "keys[].name", record.name)) {
    if (std::ranges::find(kReserved, record.name) != kReserved.end()) {
      reader.Refuse("name", "is a name that the trail uses itself; choose another");
    } else if (record.name.starts_with(kPrefix)) {
      reader.Refuse("name", "must not begin with op_, as ids do");
    }
  } else if (!reader.Has("name")) {
    reader.Refuse("name", "is missing");
  }
  if (!ReadRole(reader, record.role) && !reader.Has("role")) {
    reader.Refuse("role", fmt::format("is missing: {}", fmt::join(store::kRoleNames, ", ")));
  }
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  if (call.ports.operators->FindByName(record.name)) {
    return Problem(ProblemType::kConflict,
                   "There is an operator of this name; choose another name, or delete it.");
  }
  const auto random = call.ports.random();
  const auto more = call.ports.random();
  if (!random) return Problem(random.error());
  if (!more) return Problem(more.error());
  std::array<std::uint64_t, 2> id_bits{};
  std::memcpy(id_bits.data(), more->data(), sizeof id_bits);
  const Secret token = MakeToken(*random);
  record.id = store::OperatorId{MakeId(call.now, id_bits[0], id_bits[1])};
  record.token_hash = TokenDigest(token.Reveal());
  record.display = DisplayToken(token.Reveal());
  record.created_at = call.now;
  record.created_by = call.actor;
  if (auto failed = Write(call, "operator.create", nullptr, record)) return std::move(*failed);

  JsonWriter json;
  json.Open('{').Open("operator", '{');
  WriteOperator(record, json);
  json.Close('}').Text("token", token.Reveal()).Close('}');
  AdminResponse response = JsonResponse(json.Take(), 201);
  response.headers = "location: /admin/v1/operators/" + IdText(record) + "\r\n";
  return response;
}

AdminResponse ListOperators(const Call& call) {
  static constexpr std::array<std::string_view, 1> kKnown = {"state"};
  static constexpr std::array<std::string_view, 3> kStates = {"active", "disabled", "deleted"};
  QueryReader query(call.request.query, kKnown);
  const auto state = query.Text("state");
  if (state && std::ranges::find(kStates, *state) == kStates.end()) {
    query.Refuse("state", fmt::format("must be one of: {}", fmt::join(kStates, ", ")));
  }
  if (!query.errors().empty()) return InvalidBody(query.errors());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const OperatorRecord& record : call.ports.operators->All()) {
    // Those that are gone are shown to whoever asks for them.
    if (state ? *state != Name(record.state) : record.state == OperatorState::kDeleted) continue;
    json.Open('{');
    WriteOperator(record, json);
    json.Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

AdminResponse PatchOperator(const Call& call) {
  const auto before = FindOperator(call);
  if (!before) return before.error();
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  static constexpr std::array<std::string_view, 2> kStates = {"active", "disabled"};
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  OperatorRecord after = *before;
  ReadRole(reader, after.role);
  std::string state;
  if (reader.Choice("state", kStates, state)) {
    after.state = state == "active" ? OperatorState::kActive : OperatorState::kDisabled;
  }
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  if (before->state == OperatorState::kDeleted) {
    return Problem(ProblemType::kConflict,
                   "The operator is deleted, which is for good; create another one.");
  }
  if (after.role != before->role || after.state != before->state) {
    if (auto failed = Write(call, "operator.change", &*before, after)) return std::move(*failed);
  }
  return OperatorResponse(after);
}

AdminResponse DeleteOperator(const Call& call) {
  const auto before = FindOperator(call);
  if (!before) return before.error();
  if (before->state == OperatorState::kDeleted) return OperatorResponse(*before);
  OperatorRecord after = *before;
  after.state = OperatorState::kDeleted;
  after.deleted_at = call.now;
  if (auto failed = Write(call, "operator.delete", &*before, after)) return std::move(*failed);
  return OperatorResponse(after);
}

}  // namespace weir::admin
