#include "sim/auditor.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace weir::sim {
namespace {

std::string Who(const CallTruth& call) {
  return fmt::format("request {} ({})", call.number, ToString(call.id));
}

std::string UsageText(const Usage& usage) {
  return fmt::format("{}/{}/{}/{} {}", usage.input_tokens, usage.cached_input_tokens,
                     usage.output_tokens, usage.reasoning_tokens, Name(usage.source));
}

std::int64_t CeilQuarter(std::int64_t bytes) { return (bytes + 3) / 4; }

// Which counter it is, as people would say it.
std::string NameOf(const Due& due) {
  return fmt::format("{}|{}|{}", due.policy, due.values, due.scope);
}

constexpr std::string_view kHeartbeat = ": ping\n\n";
constexpr Duration kDay = Seconds(86'400);

// What a reply says its wallet paid.
std::optional<std::int64_t> ChargeIn(std::string_view bytes) {
  for (const std::string_view name : {"\"charged_quota_tokens\":", "\"charged_nano_usd\":"}) {
    const auto at = bytes.find(name);
    if (at == std::string_view::npos) continue;
    std::int64_t value = 0;
    std::from_chars(bytes.data() + at + name.size(), bytes.data() + bytes.size(), value);
    return value;
  }
  return std::nullopt;
}

}  // namespace

std::string AttemptMark(std::uint32_t attempt) { return fmt::format("~{}~", attempt); }

void Auditor::Report(std::string_view rule, std::string detail) {
  if (violation_) return;
  violation_ = {std::string(rule), std::move(detail), executor_.Now()};
}

CallTruth& Auditor::OnCall(const RequestId& id, const KeyId& key, const config::KeyLimits& limits) {
  auto& call = calls_[id];
  CHECK(call == nullptr, "ids are drawn from 80 bits");
  call = std::make_unique<CallTruth>();
  call->number = static_cast<std::uint32_t>(counts_.requests++);
  call->id = id;
  call->key = key;
  call->limits = limits;
  return *call;
}

std::uint32_t Auditor::OnAttempt(CallTruth& call) {
  ++counts_.attempts;
  call.attempts.emplace_back();
  return static_cast<std::uint32_t>(call.attempts.size() - 1);
}

// ---- callers ------------------------------------------------------------------------------------

void Auditor::OnHandOver(CallTruth& call, std::string_view bytes, bool end) {
  executor_.Note(bytes);
  if (call.replays && call.status >= 200 && call.status <= 299) {
    OnReplayBytes(call, bytes, end);
    return;
  }
  for (std::size_t at = bytes.find('~'); at != std::string_view::npos;) {
    const std::size_t close = bytes.find('~', at + 1);
    if (close == std::string_view::npos) break;
    std::uint32_t attempt = 0;
    const auto read = std::from_chars(bytes.data() + at + 1, bytes.data() + close, attempt);
    if (read.ptr == bytes.data() + close) {
      if (call.attempt && *call.attempt != attempt) {
        Report("I7",
               fmt::format("{}: bytes of attempts {} and {}", Who(call), *call.attempt, attempt));
      }
      call.attempt = attempt;
    }
    at = bytes.find('~', close + 1);
  }
  const bool reply = call.status >= 200 && call.status <= 299;
  if (!reply || call.intent == 0) return;
  call.text_bytes += std::ranges::count(bytes, kTextByte);
  call.got_reply = true;
  if (!call.idempotency.empty() && bytes != kHeartbeat) call.received += bytes;
  if (call.wallet && !call.told_wallet) call.told_wallet = ChargeIn(bytes);
  if (end && (call.settlement == 0 || disk_.last_position() < call.settlement)) {
    Report("I6", fmt::format("{}: the end of its reply before its settlement (record {}) is on "
                             "disk",
                             Who(call), call.settlement));
    return;
  }
  if (disk_.last_position() < call.intent) {
    Report("I8", fmt::format("{}: a byte of its reply before its intent (record {}) is on disk",
                             Who(call), call.intent));
  }
  if (!end) return;
  call.got_end = true;
  const Books::Closed& closed = books_.resolved().at(call.id);
  if (call.told_charge && *call.told_charge != closed.charged) {
    Report("told", fmt::format("{}: was told {} and charged {} nUSD", Who(call),
                               call.told_charge->n, closed.charged.n));
  }
  if (call.told_wallet && (!closed.wallet || closed.wallet->charged.n != *call.told_wallet)) {
    Report("told", fmt::format("{}: was told that its wallet paid {}, and it paid {}", Who(call),
                               *call.told_wallet, closed.wallet ? closed.wallet->charged.n : 0));
  }
}

void Auditor::OnReplayBytes(CallTruth& call, std::string_view bytes, bool end) {
  const CallTruth& first = *calls_.at(*call.replays);
  if (first.settlement == 0 || disk_.last_position() < first.settlement) {
    Report("I6", fmt::format("{}: the reply of {} before its settlement is on disk", Who(call),
                             Who(first)));
    return;
  }
  call.received += bytes;
  call.got_reply = true;
  if (!end) return;
  // The first caller may have left before it had anything, its status included.
  const bool same =
      (first.status == 0 || call.status == first.status) &&
      (first.got_end ? call.received == first.received : call.received.starts_with(first.received));
  if (!same) {
    Report("replay", fmt::format("{}: {} bytes of another reply than the {} of {}", Who(call),
                                 call.received.size(), first.received.size(), Who(first)));
  }
  ++counts_.replays;
}

void Auditor::OnFinished(CallTruth& call, const gateway::Exchange& x) {
  call.finished = true;
  executor_.Note(static_cast<std::uint64_t>(x.ending) << 32 | static_cast<unsigned>(x.status));
  if (x.ending == EndingKind::kServed) ++counts_.served;
  if (x.ending == EndingKind::kCut && (x.reason.refusal == Refusal::kInsufficientBalance ||
                                       x.reason.refusal == Refusal::kBudgetExceeded ||
                                       x.reason.refusal == Refusal::kPolicyBudgetExceeded)) {
    ++counts_.out_of_hold;
    if (!call.adaptive) Report("I26", Who(call) + ": was cut for money that was held");
  }
  if (call.intent == 0) return;
  const auto found = books_.resolved().find(call.id);
  if (found == books_.resolved().end()) {
    Report("I20", Who(call) + ": ended, and its hold did not");
    return;
  }
  const Books::Closed& closed = found->second;
  const bool lies = std::ranges::any_of(call.attempts, &AttemptTruth::told_lies);
  // What an upstream sends before more can be held is the operator's.
  const bool outgrown = call.adaptive && closed.usage.output_tokens > closed.output_tokens_bound;
  const std::int64_t wallet_overrun = closed.wallet ? closed.wallet->overrun.n : 0;
  if (!lies && !outgrown && (closed.overrun != NanoUsd{0} || wallet_overrun != 0)) {
    Report("I26",
           fmt::format("{}: {} nUSD and {} of its wallet above its hold, and the upstreams "
                       "kept to their bounds (usage {})",
                       Who(call), closed.overrun.n, wallet_overrun, UsageText(closed.usage)));
  }
  CheckUses(call, closed, !lies && !outgrown);
  // The known gap: a disk that is full at the settlement of a JSON reply.
  const bool unrecorded = x.reason.refusal == Refusal::kLedgerUnavailable;
  if (!call.got_reply && !unrecorded && !call.hung_up && closed.charged != NanoUsd{0}) {
    Report("unserved", fmt::format("{}: got status {} and pays {} nUSD", Who(call), x.status,
                                   closed.charged.n));
  }
  if (call.attempts.empty()) return;
  const AttemptTruth& last = call.attempts.back();
  if (x.ending == EndingKind::kServed && last.usage && !last.told_lies && call.got_end &&
      !(closed.usage == *last.usage)) {
    Report("exact", fmt::format("{}: its upstream said {} and {} was booked", Who(call),
                                UsageText(*last.usage), UsageText(closed.usage)));
  }
  const bool own_count = closed.usage.source == UsageSource::kEstimated ||
                         closed.usage.source == UsageSource::kCheckpoint;
  if (own_count && !lies && closed.usage.output_tokens > CeilQuarter(last.text_bytes)) {
    Report("produced", fmt::format("{}: {} booked, {} bytes of text were made", Who(call),
                                   UsageText(closed.usage), last.text_bytes));
  }
  const bool left_early = call.settled_gone && !last.whole;
  if (left_early && x.hang_up_rule() == config::HangUpRule::kAbortAndVoid &&
      closed.charged != NanoUsd{0}) {
    Report("void", fmt::format("{}: hung up, and pays {} nUSD in spite of abort_and_void",
                               Who(call), closed.charged.n));
  }
}

// ---- the machine --------------------------------------------------------------------------------

void Auditor::Add(std::span<const std::uint8_t> records) {
  while (!records.empty() && !violation_) {
    const auto record = ledger::Decode(records);
    if (!record) {
      Report("record", std::string(Name(record.error())));
      return;
    }
    ++counts_.records;
    if (const auto breach = books_.Add(*record)) Report(breach->rule, breach->detail);
    const auto note = [&](const RequestId& id, std::uint64_t CallTruth::* position) {
      const auto call = calls_.find(id);
      if (call != calls_.end()) (*call->second).*position = books_.position();
    };
    if (const auto* intent = std::get_if<ledger::IntentRecord>(&*record)) {
      note(intent->request, &CallTruth::intent);
    } else if (std::holds_alternative<ledger::GrantRecord>(*record)) {
      ++counts_.grants;
    } else if (std::holds_alternative<ledger::ExtendRecord>(*record)) {
      ++counts_.extensions;
    } else if (std::holds_alternative<ledger::CounterRecord>(*record)) {
      ++counts_.counters;
    } else if (std::holds_alternative<ledger::WindowRecord>(*record)) {
      ++counts_.windows;
    } else if (std::holds_alternative<ledger::AlertRecord>(*record)) {
      ++counts_.alerts;
    } else if (const auto* settle = std::get_if<ledger::SettleRecord>(&*record)) {
      resolved_now_.push_back(settle->request);
      note(settle->request, &CallTruth::settlement);
      const auto call = calls_.find(settle->request);
      if (call != calls_.end()) call->second->settled_gone = call->second->hung_up;
      ++counts_.settled;
      counts_.overruns += settle->overrun.n > 0;
      executor_.Note(static_cast<std::uint64_t>(settle->charged.n));
    } else if (const auto* voided = std::get_if<ledger::VoidRecord>(&*record)) {
      resolved_now_.push_back(voided->request);
      note(voided->request, &CallTruth::settlement);
      ++counts_.voided;
    }
  }
}

void Auditor::Compare(const gateway::CreditControl& machine) {
  if (violation_) return;
  if (const auto problem = machine.book().CheckInvariants()) {
    Report("I1", *problem);
    return;
  }
  for (const auto& [id, key] : books_.keys()) {
    const auto standing = machine.Standing(id);
    if (!standing || standing->settled != ledger::Saturated(key.settled) ||
        standing->held != ledger::Saturated(key.held) || standing->requests_open != key.open) {
      Report("I2", fmt::format("key {}: {} settled, {} held, {} open by the records; {} {} {} by "
                               "the machine",
                               ToString(id), key.settled, key.held, key.open,
                               standing ? standing->settled.n : 0, standing ? standing->held.n : 0,
                               standing ? standing->requests_open : 0));
      return;
    }
  }
  const ledger::Book& book = machine.book();
  std::size_t grants = 0;
  for (std::uint32_t i = 0; i < book.account_count(); ++i) {
    const ledger::Account& account = book.Get({i});
    if (account.id.kind != ledger::AccountKind::kGrant) continue;
    ++grants;
    const auto found = books_.grants().find(ledger::GrantId{account.id.owner});
    if (found == books_.grants().end() || account.credits_posted != found->second.made.amount.n ||
        account.debits_posted != found->second.spent + found->second.ended ||
        account.debits_pending != found->second.held) {
      Report("I2", fmt::format(
                       "grant {}: {} gone and {} held by the machine, not so by the records",
                       ToString(account.id.owner), account.debits_posted, account.debits_pending));
      return;
    }
  }
  if (grants != books_.grants().size()) {
    Report("I2", "grants are in the records that the machine does not know");
    return;
  }
  if (machine.requests_open() != books_.unresolved().size()) {
    Report("I2", "requests are open that the records do not know");
  }
  CompareCounters(machine.quotas());
}

void Auditor::CompareCounters(const policy::QuotaTable& table) {
  const Instant at = books_.recorded();
  std::size_t seen = 0;
  for (const auto& [number, counter] : books_.quotas().counters()) {
    const auto view = table.View(number, at);
    if (!view) {
      if (CounterBooks::MayBeGone(counter, at)) continue;
      Report("I2", fmt::format("counter {} ({}): the machine does not have it", number,
                               counter.made.policy));
      return;
    }
    ++seen;
    const bool over = counter.turn == 0 || counter.ends_at <= at;
    const ledger::Sum used = over ? 0 : counter.UsedAt(at);
    const ledger::Sum held = over ? 0 : counter.held;
    if (view->policy != counter.made.policy || view->values != counter.made.values ||
        view->unit != counter.unit() || view->limit != counter.limit ||
        view->rule != counter.rule || view->window.starts_at != counter.starts_at ||
        view->window.ends_at != counter.ends_at) {
      Report("I2", fmt::format("counter {} ({} {}): the machine has another", number,
                               counter.made.policy, counter.made.values));
      return;
    }
    if (view->settled != used || view->held != held) {
      Report("I2", fmt::format("counter {} ({} {}): {} used and {} held by the records, {} and {} "
                               "by the machine",
                               number, counter.made.policy, counter.made.values, used, held,
                               view->settled, view->held));
      return;
    }
  }
  std::size_t known = 0;
  for (std::uint32_t number = 0; number < table.numbers(); ++number) {
    known += table.View(number, at).has_value();
  }
  if (known != seen) Report("I2", "the machine has counters that no record has");
}

void Auditor::OnAdmit(const gateway::AdmitCommand& command, const gateway::AdmitReply& reply,
                      std::span<const std::uint8_t> records,
                      const gateway::CreditControl& machine) {
  executor_.Note(static_cast<std::uint64_t>(reply.refusal) << 40 ^
                 static_cast<std::uint64_t>(reply.held.n));
  const Books::Key before = books_.Of(command.key);
  resolved_now_.clear();
  OnPeek();
  if (command.idempotency) CheckKeyOfAdmission(command, reply);
  if (violation_) return;
  if (reply.replay) {
    if (!records.empty()) Report("refusal", "a replay left a record");
    Compare(machine);
    return;
  }
  if (reply.refusal != Refusal::kNone) {
    ++counts_.refused;
    if (!records.empty()) Report("refusal", "a refused admission left a record");
    if (reply.quota) CheckPolicyRefusal(*calls_.at(command.request), command, reply);
    Compare(machine);
    return;
  }
  ++counts_.admitted;
  Add(records);
  if (violation_) return;
  const auto open = books_.unresolved().find(command.request);
  if (open == books_.unresolved().end()) {
    Report("I8", "an admission without an intent");
    return;
  }
  CallTruth& call = *calls_.at(command.request);
  // Against what the operator set, which the machine was told by others than the auditor.
  const ledger::Sum committed = before.settled + before.held + open->second.hold.n;
  if (call.limits.budget && committed > call.limits.budget->n) {
    Report("I3", fmt::format("{}: {} committed of a budget of {} nUSD", Who(call), committed,
                             call.limits.budget->n));
  }
  if (call.limits.concurrent_requests > 0 && before.open >= call.limits.concurrent_requests) {
    Report("concurrency", fmt::format("{}: {} of {} requests were open", Who(call), before.open,
                                      call.limits.concurrent_requests));
  }
  if (open->second.hold != reply.held || open->second.wallet_held() != reply.wallet_held.n) {
    Report("I5", Who(call) + ": holds another amount than told");
  }
  CheckPayer(call, open->second);
  CheckPolicies(call, command, open->second);
  Compare(machine);
}

bool Auditor::UsesItsKey(const CallTruth& call) const {
  if (books_.unresolved().contains(call.id)) return true;
  const auto closed = books_.resolved().find(call.id);
  return closed != books_.resolved().end() && !closed->second.voided;
}

// By what callers sent, and not by the hashes in the records.
void Auditor::CheckKeyOfAdmission(const gateway::AdmitCommand& command,
                                  const gateway::AdmitReply& reply) {
  latest_asked_ = std::max(latest_asked_, executor_.WallNow());
  books_.Passed(latest_asked_);
  CallTruth& call = *calls_.at(command.request);
  auto& others = keyed_[{call.key, call.idempotency}];
  const auto any = [&](auto which) {
    return std::ranges::any_of(
        others, [&](const CallTruth* one) { return UsesItsKey(*one) && which(*one); });
  };
  if (reply.replay) {
    call.replays = reply.replay;
    const CallTruth& first = *calls_.at(*reply.replay);
    const auto closed = books_.resolved().find(first.id);
    if (first.idempotency != call.idempotency || !(first.key == call.key) ||
        first.asked != call.asked || closed == books_.resolved().end() || closed->second.voided) {
      Report("replay", fmt::format("{}: is told to be {}, which it is not", Who(call), Who(first)));
    }
    return;
  }
  switch (reply.refusal) {
    case Refusal::kIdempotencyKeyInUse:
      if (!any([&](const CallTruth& one) { return one.asked == call.asked; })) {
        Report("refusal", Who(call) + ": its free Idempotency-Key is said to be in use");
      }
      return;
    case Refusal::kIdempotencyKeyReused:
      if (!any([&](const CallTruth& one) { return one.asked != call.asked; })) {
        Report("refusal", Who(call) + ": its Idempotency-Key is said to be that of another body");
      }
      return;
    case Refusal::kNone:
      break;
    default:
      return;
  }
  const auto in_its_day = [&](const CallTruth& one) {
    return books_.unresolved().contains(one.id) || one.admitted_at + kDay > latest_asked_;
  };
  if (any(in_its_day)) {
    Report("I10", Who(call) + ": is admitted with an Idempotency-Key that was charged");
  }
  call.admitted_at = executor_.WallNow();
  others.push_back(&call);
}

void Auditor::CheckPayer(const CallTruth& call, const Books::Open& open) {
  const auto& wallet = open.wallet;
  const bool same =
      wallet.has_value() == call.wallet.has_value() &&
      (!wallet ||
       (wallet->wallet == call.wallet->wallet && wallet->unit == call.wallet->rate.unit &&
        (wallet->multiplier_ppm == call.wallet->rate.multiplier_ppm ||
         std::ranges::count(call.multipliers, wallet->multiplier_ppm) > 0)));
  if (!same) Report("I24", Who(call) + ": another wallet or multiplier than it was asked for");
}

std::optional<Asker> Auditor::AskerOf(const CallTruth& call, const gateway::AdmitCommand& command) {
  Asker asker = call.asker;
  if (call.config->policies.empty()) return asker;  // nobody looked
  asker.model = std::string((*command.facts)[config::Dimension::kModel]);
  const auto models = ModelsFor(*call.config, call.asker.model);
  if (std::ranges::count(models, asker.model) > 0) return asker;
  Report("policy", fmt::format("{}: asked for {} and is judged as {}", Who(call), call.asker.model,
                               asker.model));
  return std::nullopt;
}

// By the policies of its day, and not by what the machine was asked.
void Auditor::CheckPolicies(CallTruth& call, const gateway::AdmitCommand& command,
                            const Books::Open& open) {
  if (!call.config || violation_) return;
  const auto asker = AskerOf(call, command);
  if (!asker) return;
  const config::Model* const model = call.config->FindModel(asker->model);
  const std::int64_t multiplier = model == nullptr ? 0 : model->multiplier.ppm;
  if (!open.legs.empty() && open.multiplier_ppm != multiplier) {
    Report("I24", Who(call) + ": counts quota tokens by another multiplier than its model's");
    return;
  }
  call.multiplier_ppm = multiplier;
  call.dues = DuesOf(*call.config, *asker, call.asked_at,
                     {.input_tokens = open.input_tokens_bound,
                      .output_tokens = open.output_tokens_bound,
                      .usd = open.hold,
                      .multiplier_ppm = multiplier});
  counts_.quota_lines += open.legs.size();
  std::size_t matched = 0;
  for (const Due& due : call.dues) {
    if (due.alone) {
      if (due.rule != ledger::QuotaRule::kHard || due.amount.value_or(0) <= due.limit) continue;
      Report("policy", fmt::format("{}: holds {} where policy {} allows one request {}", Who(call),
                                   *due.amount, due.policy, due.limit));
      return;
    }
    const auto mine = std::ranges::find_if(open.legs, [&](const CounterBooks::Leg& leg) {
      const auto& made = books_.quotas().counters().at(leg.number).made;
      return made.policy == due.policy && made.values == due.values;
    });
    if (mine == open.legs.end()) {
      if (due.may_be_left_out) continue;
      Report("policy", fmt::format("{}: meets policy {} ({}) and is not held on it", Who(call),
                                   due.policy, due.values));
      return;
    }
    ++matched;
    CheckCounter(call, due, books_.quotas().counters().at(mine->number), mine->held);
    if (violation_) return;
  }
  if (matched != open.legs.size()) {
    Report("policy", fmt::format("{}: is held on {} counters and meets {}", Who(call),
                                 open.legs.size(), matched));
  }
}

void Auditor::CheckCounter(const CallTruth& call, const Due& due,
                           const CounterBooks::Counter& counter, ledger::Sum held) {
  const auto wrong = [&](std::string_view what) {
    Report("policy",
           fmt::format("{}: policy {} ({}): {}", Who(call), due.policy, due.values, what));
  };
  const std::string name = NameOf(due);
  const Id128& id = counter.made.counter;
  if (counter_ids_.emplace(name, id).first->second != id ||
      counter_names_.emplace(id, name).first->second != name) {
    return wrong("it is counted where another is");
  }
  if (counter.unit() != due.unit || counter.kind() != due.kind || counter.slides() != due.sliding) {
    return wrong("it counts something else");
  }
  if (due.sliding && counter.made.bucket.ns * 60 != due.length.ns) {
    return wrong("its window is of another length");
  }
  if (counter.limit != due.limit || counter.rule != due.rule) {
    return wrong(fmt::format("a limit of {}, and it allows {}", counter.limit, due.limit));
  }
  if (due.length.ns > 0 && !due.sliding) {
    const Bounds window = WindowByHand(due, books_.recorded());
    if (counter.starts_at != window.starts_at || counter.ends_at != window.ends_at) {
      return wrong("its window is another");
    }
  }
  if (due.kind == config::WindowKind::kAction &&
      counter.ends_at - counter.starts_at != policy::QuotaTable::kActionKept) {
    return wrong("its action is not kept for a day");
  }
  if (due.amount && held != *due.amount) {
    return wrong(fmt::format("{} are held, it can use {}", held, *due.amount));
  }
}

// Of what a request takes one of, the books know whether there was one left.
void Auditor::CheckPolicyRefusal(const CallTruth& call, const gateway::AdmitCommand& command,
                                 const gateway::AdmitReply& reply) {
  ++counts_.policy_refusals;
  if (!call.config || *reply.quota >= command.quotas.size()) return;
  const std::string& id = command.quotas[*reply.quota].policy->id;
  const auto asker = AskerOf(call, command);
  if (!asker) return;
  const auto dues = DuesOf(*call.config, *asker, call.asked_at, {});
  const auto due = std::ranges::find(dues, id, &Due::policy);
  if (due == dues.end()) {
    Report("refusal",
           fmt::format("{}: is refused by policy {}, which it does not meet", Who(call), id));
    return;
  }
  const bool one_each =
      due->unit == config::QuotaUnit::kRequests || due->unit == config::QuotaUnit::kConcurrent;
  if (due->alone || !one_each) return;
  const Instant at = WindowTime();
  const std::string name = NameOf(*due);
  ledger::Sum taken = 0;
  for (const auto& [number, counter] : books_.quotas().counters()) {
    const auto known = counter_names_.find(counter.made.counter);
    const bool mine = known != counter_names_.end() && known->second == name;
    if (mine && counter.ends_at > at) taken = counter.UsedAt(at) + counter.held;
  }
  // A counter that no admission has touched has no name yet, and is not looked for.
  const bool is_named =
      std::ranges::any_of(counter_names_, [&](const auto& entry) { return entry.second == name; });
  const bool full = taken + 1 > due->limit && due->rule != ledger::QuotaRule::kNone;
  if (is_named && !full) {
    Report("refusal", fmt::format("{}: is refused by policy {}, of which {} of {} are taken",
                                  Who(call), id, taken, due->limit));
  }
}

// What was really used and made, beside what was held of each hard counter, and what one request or
// action may use.
void Auditor::CheckUses(const CallTruth& call, const Books::Closed& closed, bool within_bounds) {
  std::map<std::uint32_t, ledger::Sum> held;
  for (const CounterBooks::Leg& leg : closed.legs) held[leg.number] += leg.held;
  for (const CounterBooks::Leg& leg : closed.legs) {
    if (leg.rule != ledger::QuotaRule::kHard) continue;
    ledger::Sum used = 0;
    if (leg.unit == config::QuotaUnit::kAttempts) {
      used = static_cast<ledger::Sum>(call.attempts.size());
    } else if (leg.unit == config::QuotaUnit::kFallbackAttempts) {
      used = std::max<ledger::Sum>(static_cast<ledger::Sum>(call.attempts.size()) - 1, 0);
    } else if (within_bounds && !closed.voided) {
      used = UseByHand(leg.unit, closed.usage, closed.charged + closed.overrun, call.multiplier_ppm)
                 .value_or(0);
    }
    if (used > held[leg.number]) {
      Report("I26", fmt::format("{}: {} {} used, and {} are held for it", Who(call), used,
                                Name(leg.unit), held[leg.number]));
      return;
    }
  }
  for (const Due& due : call.dues) {
    if (due.rule != ledger::QuotaRule::kHard || call.attempts.empty()) continue;
    const auto made = static_cast<std::int64_t>(call.attempts.size());
    ledger::Sum used = 0;
    if (due.unit == config::QuotaUnit::kAttempts) {
      used = made;
    } else if (due.unit == config::QuotaUnit::kFallbackAttempts) {
      used = made - 1;
    } else if (due.alone && within_bounds && !closed.voided) {
      used = UseByHand(due.unit, closed.usage, closed.charged + closed.overrun, call.multiplier_ppm)
                 .value_or(0);
    }
    if (used > due.limit) {
      Report("I26", fmt::format("{}: {} {} used, and policy {} allows {}", Who(call), used,
                                Name(due.unit), due.policy, due.limit));
      return;
    }
  }
}

void Auditor::CheckAlertsOf(const RequestId& request) {
  const auto call = calls_.find(request);
  const auto closed = books_.resolved().find(request);
  if (call == calls_.end() || !call->second->config || closed == books_.resolved().end()) return;
  for (const CounterBooks::Leg& leg : closed->second.legs) {
    const auto found = books_.quotas().counters().find(leg.number);
    if (found == books_.quotas().counters().end()) continue;
    const CounterBooks::Counter& counter = found->second;
    // Of a window that is over nobody is told any more.
    if (counter.turn != leg.turn || counter.limit <= 0) continue;
    const auto& policies = call->second->config->policies;
    const auto policy = std::ranges::find(policies, counter.made.policy, &config::Policy::id);
    if (policy == policies.end()) continue;  // a budget of recovery: it has no thresholds
    const ledger::Sum used = counter.UsedAt(WindowTime());
    for (const std::int64_t percent : policy->alert_percent) {
      const bool crossed =
          used > 0 && used * 100 >= static_cast<ledger::Sum>(counter.limit) * percent;
      if (!crossed || counter.told.contains(static_cast<int>(percent))) continue;
      Report("I18", fmt::format("{}: policy {} ({}) is at {} of {}, and nobody is told of {} %",
                                Who(*call->second), counter.made.policy, counter.made.values, used,
                                counter.limit, percent));
      return;
    }
  }
}

void Auditor::OnCommand(std::span<const std::uint8_t> records,
                        const gateway::CreditControl& machine) {
  resolved_now_.clear();
  OnPeek();
  Add(records);
  for (const RequestId& request : resolved_now_) {
    if (!violation_) CheckAlertsOf(request);
  }
  Compare(machine);
}

void Auditor::OnAlerts(std::span<const gateway::QuotaAlert> alerts) {
  if (violation_) return;
  const auto& told = books_.quotas().told();
  for (const gateway::QuotaAlert& alert : alerts) {
    const bool same = alerts_taken_ < told.size() && [&] {
      const CounterBooks::Told& one = told[alerts_taken_];
      return alert.position.n == one.position && alert.time == one.record.time &&
             alert.policy == one.policy && alert.values == one.values &&
             alert.percent == one.record.percent && alert.settled == one.record.settled.n &&
             alert.limit == one.record.limit.n && alert.window_starts_at == one.window_starts_at &&
             alert.window_ends_at == one.window_ends_at;
    }();
    if (!same) {
      Report("I18", fmt::format("policy {} ({}): {} % are told, and the records say otherwise",
                                alert.policy, alert.values, alert.percent));
      return;
    }
    ++alerts_taken_;
  }
  if (alerts_taken_ != told.size()) {
    Report("I18", "an alert of the records is not told");
  }
}

void Auditor::OnDurable(std::uint64_t position) { promised_ = std::max(promised_, position); }

// ---- crashes ------------------------------------------------------------------------------------

void Auditor::OnRestart(bool power_cut_may_lose, std::uint64_t lost, bool repeated) {
  executor_.Note(lost);
  ++counts_.restarts;
  counts_.lost_records += lost;
  const std::uint64_t last = disk_.last_position();
  if (last < promised_ && !power_cut_may_lose) {
    Report("promise",
           fmt::format("record {} was durable, and the disk ends at {}", promised_, last));
  }
  promised_ = std::min(promised_, last);
  if (!repeated || power_cut_may_lose) cut_recovery_at_.reset();
  books_ = {};
  alerts_taken_ = 0;
  seen_ = {};
  books_.Passed(latest_asked_);
  for (auto& [id, call] : calls_) {
    if (call->settlement > last) {
      // Where it had been seen, only a power cut can have taken it: I6 was checked then.
      call->forgiven = call->forgiven || call->got_end;
      call->settlement = 0;
    }
    if (call->intent > last) {
      call->forgiven = call->forgiven || call->got_end;
      call->intent = 0;
    }
  }
}

void Auditor::OnReplayed(const gateway::CreditControl& machine) {
  const AuditCounts counts = counts_;  // what is read again was counted when it was written
  for (const Disk::Batch& batch : disk_.batches()) Add(batch.bytes);
  counts_ = counts;
  Compare(machine);
}

void Auditor::OnResolved(std::span<const std::uint8_t> records,
                         const gateway::CreditControl& machine) {
  const std::uint64_t position = books_.position();
  std::map<RequestId, Books::Open> open = books_.unresolved();
  counts_.recovered += open.size();
  Add(records);
  Compare(machine);
  if (violation_) return;
  if (!books_.unresolved().empty()) {
    Report("recovery",
           fmt::format("{} requests are open after a start", books_.unresolved().size()));
    return;
  }
  for (const auto& [id, was] : open) {
    const auto found = calls_.find(id);
    if (found == calls_.end() || !was.delivered) continue;
    const CallTruth& call = *found->second;
    // Of a caller who had left, what the rule for hang-ups says is charged, and not what they got.
    if (call.hung_up || call.forgiven) continue;
    if (std::ranges::any_of(call.attempts, &AttemptTruth::garbled)) continue;
    if (was.delivered->output_tokens > CeilQuarter(call.text_bytes)) {
      Report("delivered", fmt::format("{}: {} tokens charged by a start, {} bytes were delivered",
                                      Who(call), was.delivered->output_tokens, call.text_bytes));
    }
  }
  std::map<Id128, ledger::Sum> settled;
  for (const auto& [id, key] : books_.keys()) settled[id] = key.settled;
  for (const auto& [id, grant] : books_.grants()) settled[id] = grant.spent;
  if (cut_recovery_at_ == position && settled != cut_recovery_) {
    Report("recovery", "a repeated recovery came to other accounts");
  }
  cut_recovery_at_ = position;
  cut_recovery_ = std::move(settled);
}

void Auditor::OnQuiet(const gateway::CreditControl& machine) {
  Compare(machine);
  for (const auto& [number, counter] : books_.quotas().counters()) {
    if (counter.held != 0 || counter.legs != 0) {
      Report("I20", fmt::format("{} of policy {} ({}) are held although all is quiet", counter.held,
                                counter.made.policy, counter.made.values));
    }
  }
  if (!books_.unresolved().empty()) {
    Report("I20",
           fmt::format("{} requests hold money although all is quiet", books_.unresolved().size()));
  }
  for (const auto& [id, call] : calls_) {
    if (!call->got_end || call->forgiven) continue;
    const auto found = books_.resolved().find(id);
    if (found == books_.resolved().end()) {
      Report("I6", Who(*call) + ": its end was seen, and its settlement is lost");
    } else if (call->told_charge && found->second.charged != *call->told_charge) {
      Report("told", Who(*call) + ": the charge it was told is not the one that is booked");
    }
  }
}

}  // namespace weir::sim
