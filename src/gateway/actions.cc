// GET /actions/{id} and POST /actions/{id}/outcome: what an action of a user took over all its
// requests, and whether what came of it was of use. What an accepted result costs, retries and
// rejected answers included, is more than what a call costs, and is what a budget is for.
//
// An action is named by its callers; two workspaces' "1" are not one action, and of another's there
// is none.
#include <array>
#include <string>

#include "dialect/json_view.h"
#include "dialect/reply_body.h"
#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

// The note, escaped, and the JSON around it.
constexpr std::int64_t kOutcomeBytesMax = 8 << 10;

RefusalReason NoAction() {
  return {.refusal = Refusal::kActionNotFound,
          .message = {},
          .param = {},
          .hint =
              "An action is known once a request with its id has ended, for as long as the "
              "request log looks back"};
}

// Whose action the path names; none when no action can have that name.
std::optional<ActionAsker> AskerOf(const Exchange& x) {
  auto action = Unescaped(x.operation.model);
  if (!action || action->empty() || action->size() > identity::kActionIdMax) return std::nullopt;
  const identity::KeyRecord& key = *x.principal->key;
  return ActionAsker{.key = x.principal->key,
                     .scope = key.workspace.empty() ? key.name : key.workspace,
                     .action = *std::move(action)};
}

std::expected<ActionOutcome, RefusalReason> OutcomeOf(std::string_view body) {
  const auto wrong = [](std::string message, std::string param) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kInvalidRequest,
                                         .message = std::move(message),
                                         .param = std::move(param),
                                         .hint = "Send {\"accepted\": true} or {\"accepted\": "
                                                 "false}, with a \"note\" if you like"});
  };
  if (auto checked = dialect::CheckJson(body, 4); !checked) {
    return std::unexpected(RefusalReason{.refusal = Refusal::kInvalidJson});
  }
  const std::string_view object = dialect::TrimJson(body);
  constexpr std::array<std::string_view, 2> kNames = {"accepted", "note"};
  std::array<dialect::JsonMember, 2> found{};
  if (dialect::KindOf(object) != dialect::JsonKind::kObject) {
    return wrong("The body is no object", {});
  }
  if (!dialect::FindMembers(object, kNames, found)) {
    return wrong("A member is given twice", {});
  }
  ActionOutcome outcome;
  const std::string_view accepted = found[0].value;
  if (accepted != "true" && accepted != "false") {
    return wrong("accepted is missing, or neither true nor false", "accepted");
  }
  outcome.accepted = accepted == "true";
  const std::string_view note = found[1].value;
  if (note.empty() || note == "null") return outcome;
  if (dialect::KindOf(note) != dialect::JsonKind::kString) {
    return wrong("note is no text", "note");
  }
  outcome.note = dialect::DecodeJson(dialect::InsideQuotes(note));
  if (outcome.note.size() > kOutcomeNoteMax) {
    return wrong("note is longer than " + std::to_string(kOutcomeNoteMax) + " bytes", "note");
  }
  return outcome;
}

std::expected<std::string, RefusalReason> Answer(Result<std::string> answer) {
  if (answer) return *std::move(answer);
  if (answer.error().code == ErrorCode::kNotFound) return std::unexpected(NoAction());
  return std::unexpected(RefusalReason{.refusal = Refusal::kReceiptUnavailable,
                                       .message = "The action cannot be looked up now"});
}

}  // namespace

Task<std::expected<std::string, RefusalReason>> FindAction(Exchange& x, Ports& ports) {
  auto asker = AskerOf(x);
  if (!asker || ports.actions == nullptr) co_return std::unexpected(NoAction());
  co_return Answer(co_await ports.actions->Find(*std::move(asker)));
}

Task<std::expected<std::string, RefusalReason>> TellOutcome(Exchange& x, Ports& ports) {
  const auto body = co_await ports.downstream.ReadBody(kOutcomeBytesMax);
  if (!body) co_return std::unexpected(ExplainBody(body.error()));
  auto outcome = OutcomeOf(*body);
  if (!outcome) co_return std::unexpected(outcome.error());
  auto asker = AskerOf(x);
  if (!asker || ports.actions == nullptr) co_return std::unexpected(NoAction());
  co_return Answer(co_await ports.actions->Tell(*std::move(asker), *std::move(outcome)));
}

}  // namespace weir::gateway
