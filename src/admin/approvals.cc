// The approvals resource: asking for more of a policy, and deciding on it. The rules are
// server/approvals'.

#include "server/approvals.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "config/policy_text.h"
#include "config/scalar.h"

namespace weir::admin {

namespace {

using server::ApprovalFault;
using store::Approval;

AdminResponse FaultResponse(const ApprovalFault& fault) {
  switch (fault.kind) {
    case ApprovalFault::Kind::kNotFound:
      return Problem(ProblemType::kNotFound, fault.detail);
    case ApprovalFault::Kind::kForbidden:
      return Problem(ProblemType::kForbidden, fault.detail);
    case ApprovalFault::Kind::kConflict:
      return Problem(ProblemType::kConflict, fault.detail);
    case ApprovalFault::Kind::kInvalid: {
      const std::array errors = {
          FieldError{.pointer = "/" + fault.member, .parameter = {}, .detail = fault.detail}};
      return InvalidBody(errors);
    }
    case ApprovalFault::Kind::kUnavailable:
      break;
  }
  AdminResponse response = Problem(ProblemType::kUnavailable, fault.detail);
  response.headers = "retry-after: 1\r\n";
  return response;
}

// An approval that may not be decided by this operator is a refusal like that of a role.
AdminResponse Refused(const Call& call, std::string_view action, const ApprovalFault& fault) {
  if (fault.kind == ApprovalFault::Kind::kForbidden) {
    (void)call.ports.policies.store->Note(
        {.at = call.now,
         .actor = std::string(call.actor),
         .action = std::string(action),
         .object = "approval:" + std::string(call.id.substr(0, 30)),
         .before = {},
         .after = {},
         .reason = fault.detail,
         .outcome = "refused"});
  }
  return FaultResponse(fault);
}

std::string Shown(const Call& call, const Approval& approval) {
  const bool counted = approval.granted && call.ports.policies.spent;
  return server::ApprovalJson(approval,
                              counted ? call.ports.policies.spent(approval) : std::nullopt);
}

AdminResponse Answer(const Call& call, std::string_view action,
                     const server::ApprovalResult<Approval>& result) {
  return result ? JsonResponse(Shown(call, *result)) : Refused(call, action, result.error());
}

std::expected<store::ApprovalId, AdminResponse> ApprovalIdOf(const Call& call) {
  const auto id = server::ParseApprovalId(call.id);
  if (id) return *id;
  return std::unexpected(Problem(ProblemType::kNotFound, "There is no approval with this id."));
}

// A number or a decimal text of the unit; a text is exact in every client.
bool ReadAmount(ObjectReader& reader, config::QuotaUnit unit, std::int64_t& out) {
  const boost::json::value* value = reader.Any("amount");
  if (value == nullptr) return false;
  std::optional<std::int64_t> steps;
  if (value->is_string()) {
    steps = config::ParseAmount(unit, std::string_view(value->get_string()));
  } else if (value->is_int64() || value->is_uint64()) {
    steps = config::ParseAmount(unit, boost::json::serialize(*value));
  }
  if (!steps || *steps <= 0) {
    reader.Refuse("amount", fmt::format("must be an amount of {} above 0: a whole number, or a "
                                        "decimal text such as \"12.50\"",
                                        Name(unit)));
    return false;
  }
  out = *steps;
  return true;
}

bool ReadDuration(ObjectReader& reader, Duration& out) {
  std::string text;
  const boost::json::value* value = reader.Any("duration");
  if (value == nullptr) return false;
  if (value->is_string()) text = std::string_view(value->get_string());
  const auto duration = config::ParseDuration(text);
  if (!duration || *duration <= Duration{}) {
    reader.Refuse("duration", "must be a duration with its unit, such as \"24h\" or \"90m\"");
    return false;
  }
  out = *duration;
  return true;
}

// Any text; what it may be is checked by the rules.
void ReadWords(ObjectReader& reader, std::string_view name, std::string& out) {
  const boost::json::value* value = reader.Any(name);
  if (value == nullptr || value->is_null()) return;
  if (value->is_string()) {
    out = std::string_view(value->get_string());
  } else {
    reader.Refuse(name, "must be a string");
  }
}

}  // namespace

AdminResponse CreateApproval(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  server::ApprovalAsk ask;
  ask.requester = call.actor;
  ReadWords(reader, "policy", ask.policy);
  const auto config = call.ports.config();
  const config::Policy* const policy = server::FindPolicy(*config, ask.policy);
  if (ask.policy.empty()) reader.Refuse("policy", "is missing");
  // What an amount means follows from the policy; without one it is not looked at.
  const auto unit = policy == nullptr ? config::QuotaUnit::kUsd : policy->unit;
  if (!ReadAmount(reader, unit, ask.amount) && !reader.Has("amount")) {
    reader.Refuse("amount", "is missing");
  }
  if (!ReadDuration(reader, ask.duration) && !reader.Has("duration")) {
    reader.Refuse("duration", "is missing");
  }
  ReadWords(reader, "counter", ask.counter);
  ReadWords(reader, "reason", ask.reason);
  ReadWords(reader, "rollback_owner", ask.rollback_owner);
  reader.TimeOrNull("from", ask.from);
  reader.Finish();
  if (!ask.policy.empty() && policy == nullptr) {
    return Problem(ProblemType::kNotFound, "There is no policy of this id.");
  }
  if (!errors.empty()) return InvalidBody(errors);
  const auto asked = call.ports.policies.approvals->Ask(ask);
  if (!asked) return FaultResponse(asked.error());
  AdminResponse response = JsonResponse(Shown(call, *asked), 201);
  response.headers = "location: /admin/v1/approvals/" + server::ApprovalIdText(asked->id) + "\r\n";
  return response;
}

AdminResponse ListApprovals(const Call& call) {
  static constexpr std::array<std::string_view, 4> kKnown = {"limit", "cursor", "state",
                                                             "review_missing"};
  QueryReader query(call.request.query, kKnown);
  store::ApprovalQuery wanted;
  wanted.limit = query.Count("limit", 1, kPageMax).value_or(kPageDefault);
  if (const auto text = query.Text("cursor")) {
    wanted.before = server::ParseApprovalId(*text);
    if (!wanted.before)
      query.Refuse("cursor", "is not a cursor; use next_cursor of the page before");
  }
  if (const auto text = query.Text("state")) {
    const auto at = std::ranges::find(store::kApprovalStateNames, *text);
    if (at == store::kApprovalStateNames.end()) {
      query.Refuse("state",
                   fmt::format("must be one of: {}", fmt::join(store::kApprovalStateNames, ", ")));
    } else {
      wanted.state = static_cast<store::ApprovalState>(at - store::kApprovalStateNames.begin() + 1);
    }
  }
  if (const auto text = query.Text("review_missing")) {
    wanted.review_missing = *text == "true";
    if (*text != "true" && *text != "false")
      query.Refuse("review_missing", "must be true or false");
  }
  if (!query.errors().empty()) return InvalidBody(query.errors());
  const auto listed = call.ports.policies.store->List(wanted);
  if (!listed) return Problem(listed.error());
  std::string body = "{\"data\":[";
  for (const Approval& approval : *listed) {
    if (body.back() != '[') body += ',';
    body += Shown(call, approval);
  }
  const bool more = static_cast<std::int64_t>(listed->size()) == wanted.limit;
  body += "],\"next_cursor\":";
  body += more ? "\"" + server::ApprovalIdText(listed->back().id) + "\"}" : "null}";
  return JsonResponse(std::move(body));
}

AdminResponse GetApproval(const Call& call) {
  const auto id = ApprovalIdOf(call);
  if (!id) return id.error();
  const auto found = call.ports.policies.store->Find(*id);
  if (!found) return Problem(found.error());
  if (!*found) return Problem(ProblemType::kNotFound, "There is no approval with this id.");
  return JsonResponse(Shown(call, **found));
}

AdminResponse ApproveApproval(const Call& call) {
  const auto id = ApprovalIdOf(call);
  if (!id) return id.error();
  const auto body = ParseBody(call.request, /*may_be_empty=*/true);
  if (!body) return body.error();
  const auto known = call.ports.policies.store->Find(*id);
  if (!known) return Problem(known.error());
  if (!*known) return Problem(ProblemType::kNotFound, "There is no approval with this id.");
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  server::ApprovalAnswer answer;
  std::int64_t amount = 0;
  if (ReadAmount(reader, (*known)->unit, amount)) answer.amount = amount;
  Duration duration;
  if (ReadDuration(reader, duration)) answer.duration = duration;
  reader.TimeOrNull("from", answer.from);
  ReadWords(reader, "rollback_owner", answer.rollback_owner);
  ReadWords(reader, "note", answer.note);
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  return Answer(call, "approval.approve",
                call.ports.policies.approvals->Approve(*id, call.actor, answer));
}

namespace {

// The two that take a note and nothing else.
AdminResponse WithNote(const Call& call, std::string_view action,
                       server::ApprovalResult<Approval> (server::Approvals::*decide)(
                           const store::ApprovalId&, std::string_view, std::string_view),
                       std::string_view member = "note") {
  const auto id = ApprovalIdOf(call);
  if (!id) return id.error();
  const auto body = ParseBody(call.request, /*may_be_empty=*/true);
  if (!body) return body.error();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  std::string words;
  ReadWords(reader, member, words);
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);
  return Answer(call, action, (call.ports.policies.approvals->*decide)(*id, call.actor, words));
}

}  // namespace

AdminResponse DenyApproval(const Call& call) {
  return WithNote(call, "approval.deny", &server::Approvals::Deny);
}

AdminResponse EndApproval(const Call& call) {
  return WithNote(call, "approval.end", &server::Approvals::End);
}

AdminResponse ReviewApproval(const Call& call) {
  return WithNote(call, "approval.review", &server::Approvals::Review, "text");
}

}  // namespace weir::admin
