#include "server/action_desk.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/money.h"
#include "identity/key_record.h"
#include "server/on_desk.h"
#include "store/canonical_json.h"
#include "telemetry/log.h"

namespace weir::server {
namespace {

using store::CanonicalObject;
using telemetry::ExchangeRecord;

// Of an action that has more, the rest is a number.
constexpr std::size_t kIdsShown = 100;

std::string OutcomeJson(const store::OutcomeRecord& outcome) {
  return CanonicalObject()
      .Flag("accepted", outcome.accepted)
      .TextOrNull("note", outcome.note)
      .Text("told_at", telemetry::FormatInstant(outcome.at))
      .Write();
}

}  // namespace

Result<std::vector<ExchangeRecord>> ActionBook::RequestsOf(const gateway::ActionAsker& asker) {
  const Instant since{options_.wall_now().ns - options_.looks_back.ns};
  auto found = log_.FindAction(asker.scope, asker.action, since, options_.requests_max);
  if (!found || !found->empty()) return found;
  // The request that has just ended may still be on its way to the disk.
  log_.Flush();
  found = log_.FindAction(asker.scope, asker.action, since, options_.requests_max);
  if (found && found->empty()) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such action of this key");
  }
  return found;
}

Result<std::string> ActionBook::Document(const gateway::ActionAsker& asker,
                                         const std::vector<ExchangeRecord>& requests) {
  const auto outcomes = outcomes_.Of(asker.scope, asker.action);
  if (!outcomes) return std::unexpected(outcomes.error());
  std::int64_t attempts = 0, served = 0, refused = 0;
  __int128 charged = 0;
  Instant ended_at{INT64_MIN};
  std::set<std::string> models;
  std::vector<std::string> ids;
  for (const ExchangeRecord& request : requests) {
    attempts += request.attempts;
    served += request.ending == EndingKind::kServed && request.status < 400 ? 1 : 0;
    refused += request.ending == EndingKind::kRefused ? 1 : 0;
    charged += request.charged.n;
    ended_at = std::max(ended_at, request.started_at + request.total);
    if (!request.model.empty()) models.insert(request.model);
    if (ids.size() < kIdsShown)
      ids.push_back(store::CanonicalText("req_" + ToString(request.request)));
  }
  std::vector<std::string> names;
  for (const std::string& model : models) names.push_back(store::CanonicalText(model));
  std::vector<std::string> history;
  for (const store::OutcomeRecord& outcome : *outcomes) history.push_back(OutcomeJson(outcome));
  const auto clipped = static_cast<std::int64_t>(std::min<__int128>(charged, kMaxNanoUsd.n));
  return CanonicalObject()
      .Text("object", "action")
      .Text("id", asker.action)
      .Number("requests", static_cast<std::int64_t>(requests.size()))
      .Number("served", served)
      .Number("refused", refused)
      .Number("attempts", attempts)
      .Text("charged_usd", FormatUsd(NanoUsd{clipped}))
      .Text("started_at", telemetry::FormatInstant(requests.front().started_at))
      .Text("ended_at", telemetry::FormatInstant(ended_at))
      .Json("models", store::CanonicalList(names))
      .Json("request_ids", store::CanonicalList(ids))
      .Json("outcome", history.empty() ? "null" : history.front())
      .Json("history", store::CanonicalList(history))
      .Write();
}

Result<std::string> ActionBook::Find(const gateway::ActionAsker& asker) {
  const auto requests = RequestsOf(asker);
  if (!requests) return std::unexpected(requests.error());
  return Document(asker, *requests);
}

Result<std::string> ActionBook::Tell(const gateway::ActionAsker& asker,
                                     const gateway::ActionOutcome& outcome) {
  const auto requests = RequestsOf(asker);
  if (!requests) return std::unexpected(requests.error());
  const auto told = outcomes_.Tell({.scope = asker.scope,
                                    .action = asker.action,
                                    .accepted = outcome.accepted,
                                    .note = outcome.note,
                                    .key = asker.key->id,
                                    .at = options_.wall_now()});
  if (!told) return std::unexpected(told.error());
  return Document(asker, *requests);
}

namespace {

Result<std::string> TooMany() {
  return Fail(ErrorCode::kUnavailable, ErrorSource::kUs, "too many actions are looked up");
}

}  // namespace

Task<Result<std::string>> ActionPort::Find(gateway::ActionAsker asker) {
  const KeyId key = asker.key->id;
  return OnDesk(desk_, post_, key, TooMany(),
                [&book = book_, asker = std::move(asker)] { return book.Find(asker); });
}

Task<Result<std::string>> ActionPort::Tell(gateway::ActionAsker asker,
                                           gateway::ActionOutcome outcome) {
  const KeyId key = asker.key->id;
  return OnDesk(desk_, post_, key, TooMany(),
                [&book = book_, asker = std::move(asker), outcome = std::move(outcome)] {
                  return book.Tell(asker, outcome);
                });
}

}  // namespace weir::server
