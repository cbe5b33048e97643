#include "server/approvals.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "config/scalar.h"
#include "policy/quota_unit.h"
#include "policy/reach.h"
#include "store/canonical_json.h"

namespace weir::server {
namespace {

using store::Approval;
using store::ApprovalState;
using store::CanonicalObject;
using Kind = ApprovalFault::Kind;

constexpr std::string_view kTime = "weir";  // who did what time did

std::unexpected<ApprovalFault> Fault(Kind kind, std::string detail, std::string member = {}) {
  return std::unexpected(
      ApprovalFault{.kind = kind, .member = std::move(member), .detail = std::move(detail)});
}

std::unexpected<ApprovalFault> Fault(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
      return Fault(Kind::kNotFound, error.detail);
    case ErrorCode::kConflict:
      return Fault(Kind::kConflict, error.detail);
    default:
      return Fault(Kind::kUnavailable, error.detail);
  }
}

std::optional<ApprovalFault> TextFault(std::string_view member, std::string_view text,
                                       bool is_needed) {
  const auto wrong = [&](std::string detail) {
    return ApprovalFault{
        .kind = Kind::kInvalid, .member = std::string(member), .detail = std::move(detail)};
  };
  if (text.empty() && is_needed) return wrong("is missing; say it in a sentence");
  if (text.size() > kApprovalTextMax) {
    return wrong(fmt::format("has more than {} bytes", kApprovalTextMax));
  }
  if (std::ranges::any_of(text, [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F;
      })) {
    return wrong("must not contain control characters");
  }
  return std::nullopt;
}

std::string TimeOr(const std::optional<Instant>& at) {
  return at ? config::FormatTime(*at) : std::string();
}

// What of an approval a line of the trail shows.
std::string ShownAs(const Approval& approval) {
  CanonicalObject json;
  json.Text("state", Name(approval.state))
      .Text("policy", approval.policy)
      .TextOrNull("counter", approval.counter)
      .Text("unit", Name(approval.unit));
  if (approval.granted) {
    json.Text("amount", policy::AmountDigits(approval.unit, approval.granted->amount))
        .Text("from", config::FormatTime(approval.granted->starts_at))
        .Text("to", config::FormatTime(approval.granted->ends_at))
        .Text("rollback_owner", approval.rollback_owner);
  } else {
    json.Text("amount", policy::AmountDigits(approval.unit, approval.asked_amount))
        .Text("duration", config::FormatDuration(approval.asked_duration));
  }
  return json.Write();
}

bool IsInForce(ApprovalState state) {
  return state == ApprovalState::kApproved || state == ApprovalState::kActive;
}

std::string_view StateWords(ApprovalState state) {
  switch (state) {
    case ApprovalState::kRequested:
      return "waits for a decision";
    case ApprovalState::kApproved:
      return "is approved, and its time has not come";
    case ApprovalState::kActive:
      return "is active";
    case ApprovalState::kDenied:
      return "was denied";
    case ApprovalState::kExpired:
      return "has expired: nobody decided in time";
    case ApprovalState::kEnded:
      return "has ended";
  }
  return "is unknown";
}

}  // namespace

const config::Policy* FindPolicy(const config::Config& config, std::string_view id) {
  const auto found = std::ranges::find(config.policies, id, &config::Policy::id);
  return found == config.policies.end() ? nullptr : &*found;
}

std::string RuleFault(const config::Policy& policy, std::int64_t amount, Instant from,
                      Duration duration) {
  const config::ApprovalRule& rule = policy.approval;
  if (duration > rule.duration_max) {
    return fmt::format("is longer than the policy lets anybody approve: {} at most",
                       config::FormatDuration(rule.duration_max));
  }
  if (!rule.amount_max) return {};
  const std::int64_t windows =
      std::max<std::int64_t>(1, policy::WindowsWithin(policy.window, from, from + duration));
  const __int128 all = static_cast<__int128>(amount) * windows;
  if (all <= *rule.amount_max) return {};
  std::string text = fmt::format("is more than the policy lets anybody approve: {}",
                                 policy::AmountText(policy.unit, *rule.amount_max));
  if (windows > 1) {
    text += fmt::format(" in all, and the time touches {} windows, each of which gets the amount",
                        windows);
  }
  return text;
}

std::string ApprovalIdText(const store::ApprovalId& id) {
  return std::string(kApprovalIdPrefix) + ToString(id);
}

std::optional<store::ApprovalId> ParseApprovalId(std::string_view text) {
  if (text.starts_with(kApprovalIdPrefix)) text.remove_prefix(kApprovalIdPrefix.size());
  const auto id = ParseId(text);
  return id ? std::optional(store::ApprovalId{*id}) : std::nullopt;
}

std::string ApprovalJson(const Approval& approval, std::optional<std::int64_t> spent) {
  const auto amount = [&](std::int64_t steps) {
    return policy::AmountDigits(approval.unit, steps);
  };
  CanonicalObject json;
  json.Text("id", ApprovalIdText(approval.id))
      .Text("state", Name(approval.state))
      .Text("policy", approval.policy)
      .TextOrNull("counter", approval.counter)
      .Text("unit", Name(approval.unit))
      .Text("requester", approval.requester)
      .Text("reason", approval.reason)
      .Json("asked", CanonicalObject()
                         .Text("amount", amount(approval.asked_amount))
                         .Text("duration", config::FormatDuration(approval.asked_duration))
                         .TextOrNull("from", TimeOr(approval.asked_from))
                         .Write())
      .Text("asked_at", config::FormatTime(approval.asked_at))
      .Text("decide_by", config::FormatTime(approval.decide_by))
      .TextOrNull("decided_by", approval.decided_by)
      .TextOrNull("decided_at", TimeOr(approval.decided_at))
      .TextOrNull("decision", approval.decision)
      .TextOrNull("rollback_owner", approval.rollback_owner)
      .TextOrNull("ended_at", TimeOr(approval.ended_at))
      .TextOrNull("ended_by", approval.ended_by)
      .TextOrNull("spent", spent ? amount(*spent) : std::string());
  if (approval.granted) {
    json.Json("granted", CanonicalObject()
                             .Text("amount", amount(approval.granted->amount))
                             .Text("from", config::FormatTime(approval.granted->starts_at))
                             .Text("to", config::FormatTime(approval.granted->ends_at))
                             .Write());
  } else {
    json.Null("granted");
  }
  if (approval.reviewed_at) {
    json.Json("review", CanonicalObject()
                            .Text("text", approval.review)
                            .Text("by", approval.reviewed_by)
                            .Text("at", config::FormatTime(*approval.reviewed_at))
                            .Write());
  } else {
    json.Null("review");
  }
  return json.Write();
}

config::Raise RaiseOf(const Approval& approval) {
  config::Raise raise{.approval = ApprovalIdText(approval.id),
                      .policy = approval.policy,
                      .values = approval.counter,
                      .amount = 0,
                      .from = {},
                      .to = {}};
  if (approval.granted) {
    raise.amount = approval.granted->amount;
    raise.from = approval.granted->starts_at;
    raise.to = approval.granted->ends_at;
  }
  return raise;
}

void Approvals::Tell(std::string_view type, const Approval& approval) const {
  if (!options_.tell) return;
  // The same thing has the same id, however often it is told: of an approval each state once.
  const Id128 id{approval.id.high, approval.id.low ^ static_cast<std::uint64_t>(approval.state)};
  options_.tell({.id = telemetry::EventIdText(id),
                 .type = std::string(type),
                 .time = options_.now(),
                 .data = ApprovalJson(approval)});
}

ApprovalResult<Approval> Approvals::Get(const store::ApprovalId& id) const {
  auto found = store_.Find(id);
  if (!found) return Fault(found.error());
  if (!*found) return Fault(Kind::kNotFound, "There is no approval with this id.");
  return **std::move(found);
}

ApprovalResult<Approval> Approvals::Change(const Approval& before, Approval after,
                                           std::string_view action, std::string_view actor,
                                           std::string_view reason) {
  const auto written = store_.Update(after, before.state,
                                     {.at = options_.now(),
                                      .actor = std::string(actor),
                                      .action = std::string(action),
                                      .object = "approval:" + ApprovalIdText(after.id),
                                      .before = ShownAs(before),
                                      .after = ShownAs(after),
                                      .reason = std::string(reason),
                                      .outcome = "done"});
  if (!written) return Fault(written.error());
  return after;
}

ApprovalResult<Approval> Approvals::Ask(const ApprovalAsk& ask) {
  const Instant now = options_.now();
  const auto config = options_.config();
  const config::Policy* const policy = FindPolicy(*config, ask.policy);
  if (policy == nullptr) return Fault(Kind::kNotFound, "There is no policy of this id.");
  if (ask.amount <= 0 || ask.amount > config::kQuotaMax) {
    return Fault(Kind::kInvalid, "must be above 0", "amount");
  }
  if (ask.duration <= Duration{}) return Fault(Kind::kInvalid, "must be above 0", "duration");
  if (ask.from && (*ask.from < now || *ask.from > now + kApprovalAheadMax)) {
    return Fault(Kind::kInvalid, "must be in the future, within a year", "from");
  }
  if (!ask.counter.empty() && !policy::IsCounterOf(*policy, ask.counter)) {
    return Fault(Kind::kInvalid,
                 policy->per.empty() ? "names none: the policy has one counter for all"
                                     : "is no counter of the policy; write it as its alerts do, "
                                       "such as \"" +
                                           std::string(Name(policy->per.front())) + "=...\"",
                 "counter");
  }
  if (auto wrong = TextFault("reason", ask.reason, /*is_needed=*/true)) {
    return std::unexpected(*std::move(wrong));
  }
  if (auto wrong = TextFault("rollback_owner", ask.rollback_owner, /*is_needed=*/false)) {
    return std::unexpected(*std::move(wrong));
  }
  const std::string too_much = RuleFault(*policy, ask.amount, ask.from.value_or(now), ask.duration);
  if (!too_much.empty()) {
    return Fault(Kind::kInvalid, too_much,
                 ask.duration > policy->approval.duration_max ? "duration" : "amount");
  }
  const auto random = options_.random();
  if (!random) return Fault(random.error());
  std::array<std::uint64_t, 2> bits{};
  std::memcpy(bits.data(), random->data(), sizeof bits);
  Approval approval;
  approval.id = store::ApprovalId{MakeId(now, bits[0], bits[1])};
  approval.policy = policy->id;
  approval.counter = ask.counter;
  approval.unit = policy->unit;
  approval.requester = ask.requester;
  approval.reason = ask.reason;
  approval.asked_amount = ask.amount;
  approval.asked_duration = ask.duration;
  approval.asked_from = ask.from;
  approval.asked_at = now;
  approval.decide_by = now + kDecideWithin;
  approval.rollback_owner = ask.rollback_owner.empty() ? policy->owner : ask.rollback_owner;
  const auto written = store_.Insert(approval, {.at = now,
                                                .actor = ask.requester,
                                                .action = "approval.request",
                                                .object = "approval:" + ApprovalIdText(approval.id),
                                                .before = {},
                                                .after = ShownAs(approval),
                                                .reason = ask.reason,
                                                .outcome = "done"});
  if (!written) return Fault(written.error());
  Tell("approval.requested", approval);
  return approval;
}

ApprovalResult<Approval> Approvals::Approve(const store::ApprovalId& id, std::string_view actor,
                                            const ApprovalAnswer& answer) {
  const Instant now = options_.now();
  const auto before = Get(id);
  if (!before) return before;
  if (before->requester == actor) {
    return Fault(Kind::kForbidden, "You asked for it, so somebody else has to decide.");
  }
  const auto config = options_.config();
  const config::Policy* const policy = FindPolicy(*config, before->policy);
  if (policy == nullptr || policy->unit != before->unit) {
    return Fault(
        Kind::kConflict,
        "The policy is gone, or counts another unit than when this was asked for; deny it.");
  }
  const auto& approvers = policy->approval.approvers;
  if (!approvers.empty() && std::ranges::find(approvers, actor) == approvers.end()) {
    return Fault(Kind::kForbidden, fmt::format("Only these approve more of this policy: {}.",
                                               fmt::join(approvers, ", ")));
  }
  if (before->state != ApprovalState::kRequested || before->decide_by <= now) {
    return Fault(Kind::kConflict, fmt::format("It {}, so it cannot be approved.",
                                              StateWords(before->state == ApprovalState::kRequested
                                                             ? ApprovalState::kExpired
                                                             : before->state)));
  }
  const std::int64_t amount = answer.amount.value_or(before->asked_amount);
  const Duration duration = answer.duration.value_or(before->asked_duration);
  if (amount <= 0 || amount > before->asked_amount) {
    return Fault(Kind::kInvalid, "must be above 0, and at most what was asked for", "amount");
  }
  if (duration <= Duration{} || duration > before->asked_duration) {
    return Fault(Kind::kInvalid, "must be above 0, and at most what was asked for", "duration");
  }
  if (answer.from && (*answer.from < now || *answer.from > now + kApprovalAheadMax)) {
    return Fault(Kind::kInvalid, "must be in the future, within a year", "from");
  }
  for (const auto& [member, text] :
       {std::pair("note", &answer.note), std::pair("rollback_owner", &answer.rollback_owner)}) {
    if (auto wrong = TextFault(member, *text, /*is_needed=*/false)) {
      return std::unexpected(*std::move(wrong));
    }
  }
  // The time it was asked for may have come meanwhile.
  const Instant from = std::max(now, answer.from.value_or(before->asked_from.value_or(now)));
  // Once more: the rule may be another one than when it was asked for.
  const std::string too_much = RuleFault(*policy, amount, from, duration);
  if (!too_much.empty()) {
    return Fault(Kind::kInvalid, too_much,
                 duration > policy->approval.duration_max ? "duration" : "amount");
  }
  Approval after = *before;
  after.state = from <= now ? ApprovalState::kActive : ApprovalState::kApproved;
  after.decided_by = actor;
  after.decided_at = now;
  after.decision = answer.note;
  after.granted = {.amount = amount, .starts_at = from, .ends_at = from + duration};
  if (!answer.rollback_owner.empty()) after.rollback_owner = answer.rollback_owner;
  auto changed = Change(*before, std::move(after), "approval.approve", actor, answer.note);
  if (!changed) return changed;
  if (auto published = options_.changed(); !published) return Fault(published.error());
  Tell("approval.decided", *changed);
  return changed;
}

ApprovalResult<Approval> Approvals::Deny(const store::ApprovalId& id, std::string_view actor,
                                         std::string_view note) {
  const auto before = Get(id);
  if (!before) return before;
  if (before->state != ApprovalState::kRequested) {
    return Fault(Kind::kConflict,
                 fmt::format("It {}, so it cannot be denied.", StateWords(before->state)));
  }
  if (auto wrong = TextFault("note", note, /*is_needed=*/false)) {
    return std::unexpected(*std::move(wrong));
  }
  Approval after = *before;
  after.state = ApprovalState::kDenied;
  after.decided_by = actor;
  after.decided_at = options_.now();
  after.decision = note;
  auto changed = Change(*before, std::move(after), "approval.deny", actor, note);
  if (changed) Tell("approval.decided", *changed);
  return changed;
}

ApprovalResult<Approval> Approvals::End(const store::ApprovalId& id, std::string_view actor,
                                        std::string_view note) {
  const auto before = Get(id);
  if (!before) return before;
  if (!IsInForce(before->state)) {
    return Fault(Kind::kConflict,
                 fmt::format("It {}, so there is nothing to end.", StateWords(before->state)));
  }
  if (auto wrong = TextFault("note", note, /*is_needed=*/false)) {
    return std::unexpected(*std::move(wrong));
  }
  Approval after = *before;
  after.state = ApprovalState::kEnded;
  after.ended_at = options_.now();
  after.ended_by = actor;
  auto changed = Change(*before, std::move(after), "approval.end", actor, note);
  if (!changed) return changed;
  if (auto published = options_.changed(); !published) return Fault(published.error());
  Tell("approval.expired", *changed);
  return changed;
}

ApprovalResult<Approval> Approvals::Review(const store::ApprovalId& id, std::string_view actor,
                                           std::string_view text) {
  const auto before = Get(id);
  if (!before) return before;
  if (before->state != ApprovalState::kEnded) {
    return Fault(Kind::kConflict, fmt::format("It {}; it is reviewed when it has ended.",
                                              StateWords(before->state)));
  }
  if (before->reviewed_at) {
    return Fault(Kind::kConflict, "It is reviewed already, by " + before->reviewed_by + ".");
  }
  if (auto wrong = TextFault("text", text, /*is_needed=*/true)) {
    return std::unexpected(*std::move(wrong));
  }
  Approval after = *before;
  after.review = text;
  after.reviewed_by = actor;
  after.reviewed_at = options_.now();
  return Change(*before, std::move(after), "approval.review", actor, text);
}

ApprovalResult<std::size_t> Approvals::Sweep() {
  const Instant now = options_.now();
  const auto due = store_.Due(now);
  if (!due) return Fault(due.error());
  std::size_t moved = 0;
  for (const Approval& before : *due) {
    Approval after = before;
    std::string_view action = "approval.begin";
    if (before.state == ApprovalState::kRequested) {
      after.state = ApprovalState::kExpired;
      action = "approval.expire";
    } else if (before.granted->ends_at <= now) {
      after.state = ApprovalState::kEnded;
      // When it stopped, not when it was noticed.
      after.ended_at = before.granted->ends_at;
      action = "approval.end";
    } else {
      after.state = ApprovalState::kActive;
    }
    const auto changed = Change(before, std::move(after), action, kTime, {});
    if (!changed) {
      if (changed.error().kind == Kind::kConflict) continue;  // somebody was quicker
      return std::unexpected(changed.error());
    }
    ++moved;
    if (changed->state != ApprovalState::kActive) Tell("approval.expired", *changed);
  }
  if (moved > 0) {
    if (auto published = options_.changed(); !published) return Fault(published.error());
  }
  return moved;
}

}  // namespace weir::server
