// Makes a Responses request fit an upstream that takes less than OpenAI's own API, as a table of
// rules (AdaptRules) that reads like the page it comes from: member, action, profiles, evidence.
//
// For bodies of Responses alone; nothing here translates a chat request into one.
//
// Nothing is silent: every change has a name in `changes`, for a response header, the log and the
// receipt. Nothing poses as another client: no vendor's prompt, no header, no identity is added.
// Requests of a real Codex client (IsCodexClient) are never adapted: they fit already.
//
// Invariants:
//  1. A member that no rule changed keeps its bytes; members keep their order, new ones come last.
//  2. A body that needs no change comes back byte for byte.
//  3. Adapting an adapted body with the same profile and rules gives the same text again.
//  4. Linear in the body; nothing recurses over it; nothing deeper than kJsonDepthMax is taken.
//
// What is admitted and priced must be what the upstream reads: read the shape of the adapted body,
// not of the caller's. A strict profile takes the caller's output bound away, so the hold must then
// cover all that the model can give, and no bound may be inserted again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/payload_rule.h"
#include "dialect/request_shape.h"

namespace weir::dialect {

// Which upstream the body must fit.
enum class AdaptProfile : std::uint8_t {
  kOpenAiApi,        // OpenAI's API or one like it: only what it would refuse is put right
  kResponsesStrict,  // a Codex-style backend: stream only, store false, few parameters
};

constexpr std::string_view Name(AdaptProfile profile) {
  return profile == AdaptProfile::kOpenAiApi ? "openai_api" : "responses_strict";
}

enum class AdaptEndpoint : std::uint8_t {
  kResponses,         // POST /responses
  kResponsesCompact,  // POST /responses/compact: only store and stream are taken out
};

enum class AdaptAction : std::uint8_t {
  kDrop,     // the member is taken out, or with a step: parts of it
  kForce,    // the member gets this value, whatever it was
  kDefault,  // the member gets this value when it is absent, null or blank
  kRewrite,  // the member is brought into another form
};

// Where a rule applies. Except for kCompact, a rule never applies to /responses/compact.
enum class AdaptScope : std::uint8_t {
  kStrict,   // responses_strict alone
  kBoth,     // both profiles
  kCompact,  // /responses/compact, both profiles
};

// What a rule does beyond setting or dropping a whole member.
enum class AdaptStep : std::uint8_t {
  kWhole,
  kPlainModel,
  kEffortSuffix,
  kFunctionsToTools,
  kFunctionCallToToolChoice,
  kFlatTools,
  kNamelessTools,
  kFlatToolChoice,
  kInputToList,
  kSystemToInstructions,
  kCallIds,
  kItemReferences,
  kItemIds,
};

// One row of the table.
struct AdaptRule {
  std::string_view member;
  AdaptAction action = AdaptAction::kDrop;
  AdaptScope scope = AdaptScope::kStrict;
  std::string_view value = {};  // kForce, kDefault: JSON text; with a step: its name in `changes`
  AdaptStep step = AdaptStep::kWhole;
};

// The whole table, in the order in which the rules are applied. For reference pages and tests.
std::span<const AdaptRule> AdaptRules();

inline constexpr std::size_t kAdaptMembersMax = 1024;  // top-level members of a body

struct AdaptedBody {
  std::string text;
  // What was changed, each once, in order: "drop:temperature", "force:store=false",
  // "default:instructions", "rewrite:input=message_list", "drop:input=item_ids", "rule:a.b.0".
  // Printable ASCII without commas, so that a header can hold them joined.
  std::vector<std::string> changes;
};

// The body as the upstream wants it.
//   rules    of one key, applied last and in order; not for /responses/compact
//   fails    kInvalidJson: not one RFC 8259 object; kInvalidRequest: a member is there twice, is of
//            a type that a rule cannot work with, or a payload rule's path leads through a text.
std::expected<AdaptedBody, ShapeError> AdaptForCodex(std::string_view body, AdaptProfile profile,
                                                     AdaptEndpoint endpoint,
                                                     std::span<const PayloadRule> rules = {});

// Whether a User-Agent is that of a Codex client: codex_vscode/, codex_cli_rs/, codex_exec/.
bool IsCodexClient(std::string_view user_agent);

}  // namespace weir::dialect
