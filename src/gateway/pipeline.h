// The path of a request. pipeline.cc is the page to read first.
//
//   accept -> authenticate -> resolve -> admit -> route -> forward -> meter -> settle -> finish
//
// Stages are plain functions in files of their names. There is no filter chain and no registry:
// what happens to a request is what is written here, in this order.
#pragma once

#include <expected>

#include "base/runtime.h"
#include "base/task.h"
#include "gateway/attempt.h"
#include "gateway/exchange.h"
#include "gateway/ports.h"

namespace weir::gateway {

inline constexpr std::string_view kEventStream = "text/event-stream; charset=utf-8";

// Serves one exchange to its end. x.ending, x.status and the rest of x say how it went.
//   REQUIRES  x.id, x.started_at, x.head, x.snapshot, x.reader and x.timings.started_at are set.
//   returns   when the reply is complete, cut, or the caller is gone; the admission, if there was
//             one, is settled.
Task<void> Serve(Exchange& x, Ports& ports, Runtime& runtime);

// authenticate: who is it, and may they do this kind of thing at all.
std::expected<identity::Principal, RefusalReason> Authenticate(const Snapshot& snapshot,
                                                               const RequestHead& head,
                                                               const Operation& operation,
                                                               Instant now);

// Why a body could not be read.
RefusalReason ExplainBody(const Error& error);

// resolve: what do they want, and what can it cost. `body` outlives the plan.
std::expected<Plan, RefusalReason> Resolve(const Snapshot& snapshot, const identity::KeyRecord& key,
                                           const RequestHead& head, const Operation& operation,
                                           dialect::RequestReader& reader, std::string_view body,
                                           Instant now);

// Whether an upstream of the model speaks the call's family. A model for which none does is not
// there for this caller: nothing translates between families.
bool IsRouted(const config::Config& config, const config::Model& model, const Operation& operation);

// The member that asks for a service which the price of the model does not cover (service_tier,
// speed, inference_geo); empty when none does. Providers sell priority and the like at up to six
// times the price, and nothing in the usage says so.
std::string_view UncoveredService(const config::Model& model, const dialect::RequestShape& shape);

// The upper bound of what the request can use.
//   input   A byte-level token covers at least one byte of UTF-8, and the JSON around a message is
//           longer than the tokens a provider adds for it, so bytes bound tokens.
//   output  What the caller allows, or the model's maximum, for each choice.
//   audio   About ten tokens a second: a byte would have to last more than 100 ms to be less than a
//           token, and 8 kbit/s, as low as speech is sent, is 1 ms a byte. So bytes bound tokens
//           here too. Seconds are bounded by the file's own headers (dialect/audio_length.h).
//   capped  whether anything bounds what the request may cost: only then is its input looked at
//           for what is fetched from elsewhere
Quote MakeQuote(const config::Model& model, const config::PriceVersion& price, bool capped,
                const Operation& operation, const dialect::RequestShape& shape,
                std::string_view body, std::int64_t useful_min);

// resolve for keys with Codex adaptation: of a body that a Codex-style upstream takes. The body of
// any other key is resolved as it is.
std::expected<Plan, RefusalReason> ResolveAdapted(Exchange& x, std::string_view body);
// After an attempt: true when the upstream named a parameter that was now left out of x.plan.
bool LeaveOutUnsupported(Exchange& x);

// relieve: under pressure, a lesser model or less thought in x.plan.
void Relieve(Exchange& x, Accounts& accounts);
// One step of reasoning effort less, as an edit; false when there is none.
bool LowerThought(Exchange& x);

// What the request says of itself, into x.metadata; or why it may not say so.
std::optional<RefusalReason> ReadMetadata(Exchange& x);
// The policies it meets, into x.quotas; or why it cannot be judged.
std::optional<RefusalReason> MeetPolicies(Exchange& x);
// After a refusal: true when the policy that refused sends the request to a lesser model, which is
// now the plan's.
bool DegradedByPolicy(Exchange& x);
// Why a policy refused.
RefusalReason ExplainPolicy(const Exchange& x);
// Policies in shadow that would have refused: "a, b"; often empty.
std::string ShadowRefusals(const Exchange& x);
// Another model serves instead: false when the caller could not have asked for it.
bool MoveTo(Exchange& x, const config::Model& lesser);

// admit: limits and hold, all or none.
HoldMode HoldModeOf(const Exchange& x);
AdmitCommand MakeAdmit(const Exchange& x);
RefusalReason ExplainRefusal(const AdmitReply& reply, const Exchange& x);
// Puts what was granted into the body that goes upstream.
void ApplyGrant(Exchange& x);

// What the caller calls this request (Idempotency-Key), into x.idempotency; or why it cannot.
std::optional<RefusalReason> ReadIdempotency(Exchange& x, std::string_view body);
// The reply that an earlier request with the same key got, once more; or why there is none.
Task<void> SendAgain(Exchange& x, Ports& ports, Runtime& runtime);
// Notes what leaves of a reply that will be kept.
void KeepBytes(Exchange& x, std::string_view bytes);
void KeepReply(Exchange& x, Ports& ports);

// route: which account is asked for, then one for each attempt. NextAccount appends to x.attempts;
// false when there is none, and x.failure or x.reason says why.
void PlanRouting(Exchange& x);
Task<bool> NextAccount(Exchange& x, Ports& ports, Runtime& runtime);
void NoteNoAccount(Exchange& x, const routing::AcquireReply& reply);
bool MayTryAnother(const Exchange& x, const Downstream& downstream);
// What attempts after the first may have cost although they failed: each the whole hold.
NanoUsd FallbackSpend(const Exchange& x);
// What names a thing of a reply to later calls of the same workspace; 0 for nothing.
std::uint64_t MadeBy(const Exchange& x, std::string_view id);

// forward: the attempt at x.attempts.back(), streamed to the caller as it arrives. What it says of
// the account is in the attempt's report.
Task<void> Forward(Exchange& x, Ports& ports, Runtime& runtime);

// The same for a reply that streams although the caller did not ask for it: one JSON reply.
Task<void> ForwardAggregated(Exchange& x, Attempt& attempt, Ports& ports, Runtime& runtime,
                             UpstreamClock& clock, Tick deadline);

// settle: the charge for what was used.
SettleCommand MakeSettle(const Exchange& x);

// finish: the last bytes of the reply, or the error that stands in its place.
Task<void> Finish(Exchange& x, Ports& ports, Runtime& runtime);
Task<void> Refuse(Exchange& x, RefusalReason reason, Ports& ports, Runtime& runtime);

// True when everything up to `position` is on disk, false when it cannot be written. The time it
// took is noted in x.
Task<bool> AwaitDurable(Exchange& x, JournalPosition position, Ports& ports, Runtime& runtime);

// What was changed in the caller's request, for the log; often empty.
std::string ChangesOf(const Exchange& x);

// Where the caller's limits stand, for a reply that takes nothing of them.
void NoteLimits(Exchange& x, Ports& ports);
// The headers every reply carries: request id, limits, what was changed.
std::string CommonHeaders(const Exchange& x, Instant now);

// GET /models and GET /models/{id}: what this key may use.
std::string ListModels(const config::Config& config, const identity::KeyRecord& key);
std::expected<std::string, RefusalReason> GetModel(const config::Config& config,
                                                   const identity::KeyRecord& key,
                                                   std::string_view id);

// GET /balance: the wallet that pays for this key, and its budget.
std::string Balance(const Exchange& x, Credit& credit);
// GET /balance/statement.
Task<std::expected<std::string, RefusalReason>> Statement(Exchange& x, Ports& ports);
// POST /redeem: a code becomes a grant of the key's wallet.
Task<std::expected<std::string, RefusalReason>> Redeem(Exchange& x, Ports& ports);

// POST /approvals: more of a policy for a while, for somebody else to decide on.
Task<std::expected<std::string, RefusalReason>> AskApproval(Exchange& x, Ports& ports);
// GET /approvals/{id}: what became of it.
Task<std::expected<std::string, RefusalReason>> FindApproval(Exchange& x, Ports& ports);

// GET /limits: the policies that the key's requests meet, and what they have left. With ?model=M
// those of requests for that model too.
std::expected<std::string, RefusalReason> Limits(const Exchange& x, Credit& credit);

// GET /actions/{id} and POST /actions/{id}/outcome: what an action of a user took, and whether its
// result was accepted. For the keys that share its name: those of the workspace, or the key alone.
Task<std::expected<std::string, RefusalReason>> FindAction(Exchange& x, Ports& ports);
Task<std::expected<std::string, RefusalReason>> TellOutcome(Exchange& x, Ports& ports);

// GET /requests/{id}: the receipt of a request of this key.
Task<std::expected<std::string, RefusalReason>> FindReceipt(Exchange& x, Ports& ports);

}  // namespace weir::gateway
