// POST /approvals and GET /approvals/{id}: the owner of a key asks for more of a policy that its
// requests meet, and looks what became of it. Somebody else decides, through the admin API.
#include <algorithm>
#include <string>

#include "config/policy_text.h"
#include "config/scalar.h"
#include "gateway/pipeline.h"
#include "identity/flat_json.h"
#include "policy/reach.h"

namespace weir::gateway {
namespace {

constexpr std::int64_t kBodyBytesMax = 8 << 10;
constexpr std::size_t kIdBytesMax = 64;
constexpr std::string_view kHint =
    R"(Send {"policy": "ID", "amount": "12.50", "duration": "24h", "reason": "why"})";

std::unexpected<RefusalReason> Wrong(std::string param, std::string message) {
  return std::unexpected(RefusalReason{.refusal = Refusal::kInvalidRequest,
                                       .message = std::move(message),
                                       .param = std::move(param),
                                       .hint = std::string(kHint)});
}

// What is known of requests of the key before they ask for a model.
policy::Facts FactsOf(const Exchange& x) {
  const identity::KeyRecord& key = *x.principal->key;
  policy::Facts facts;
  facts[config::Dimension::kEnvironment] = x.config().environment;
  for (const config::Attribute& attribute : x.metadata.attributes) {
    facts[attribute.dimension] = attribute.value;
  }
  facts[config::Dimension::kKey] = key.name;
  facts[config::Dimension::kWorkspace] = key.workspace;
  return facts;
}

std::expected<ApprovalWish, RefusalReason> WishOf(const Exchange& x, std::string_view body) {
  const auto members = identity::ReadFlatJson(body);
  if (!members) return Wrong({}, "The body " + std::string(members.error()));
  ApprovalWish wish{.key = x.principal->key};
  std::string amount, duration;
  for (const identity::FlatMember& member : *members) {
    const std::string text = member.number ? std::to_string(*member.number) : member.text;
    if (member.name == "amount") {
      amount = text;
    } else if (member.number) {
      return Wrong(member.name, "Only amount may be a number");
    } else if (member.name == "policy") {
      wish.policy = text;
    } else if (member.name == "duration") {
      duration = text;
    } else if (member.name == "reason") {
      wish.reason = text;
    } else {
      return Wrong(member.name, "The body has a member that is not known here");
    }
  }
  const auto& policies = x.config().policies;
  const auto policy = std::ranges::find(policies, wish.policy, &config::Policy::id);
  const policy::Facts facts = FactsOf(x);
  // Those that are about others are not told from none.
  if (policy == policies.end() || !policy::CanMeet(*policy, facts)) {
    return Wrong("policy", "No policy of this id is about requests of this API key");
  }
  auto counter = policy::CounterOf(*policy, facts);
  if (!counter) {
    return Wrong("policy",
                 "This policy counts by what is asked for, so an operator has to ask for more");
  }
  wish.counter = *std::move(counter);
  const auto steps = config::ParseAmount(policy->unit, amount);
  if (!steps || *steps <= 0) {
    return Wrong("amount",
                 "amount must be an amount of " + std::string(Name(policy->unit)) + " above 0");
  }
  wish.amount = *steps;
  const auto length = config::ParseDuration(duration);
  if (!length || *length <= Duration{}) {
    return Wrong("duration", "duration must have its unit, such as 90m, 24h or 7d");
  }
  wish.duration = *length;
  return wish;
}

std::expected<std::string, RefusalReason> Answered(ApprovalReply reply) {
  switch (reply.status) {
    case ApprovalStatus::kDone:
      return std::move(reply.body);
    case ApprovalStatus::kRefused: {
      std::string message = std::move(reply.message);
      if (!reply.param.empty()) message = reply.param + " " + message;
      return Wrong(std::move(reply.param), std::move(message));
    }
    case ApprovalStatus::kNotFound:
      return std::unexpected(RefusalReason{
          .refusal = Refusal::kRequestNotFound,
          .message = "There is no approval with this id that this API key asked for"});
    case ApprovalStatus::kUnavailable:
      break;
  }
  return std::unexpected(RefusalReason{.refusal = Refusal::kLedgerUnavailable});
}

}  // namespace

Task<std::expected<std::string, RefusalReason>> AskApproval(Exchange& x, Ports& ports) {
  if (auto fault = ReadMetadata(x)) co_return std::unexpected(*std::move(fault));
  const auto body = co_await ports.downstream.ReadBody(kBodyBytesMax);
  if (!body) co_return std::unexpected(ExplainBody(body.error()));
  auto wish = WishOf(x, *body);
  if (!wish) co_return std::unexpected(std::move(wish.error()));
  if (ports.approvals == nullptr) co_return Answered({});
  co_return Answered(co_await ports.approvals->Ask(*std::move(wish)));
}

Task<std::expected<std::string, RefusalReason>> FindApproval(Exchange& x, Ports& ports) {
  const std::string_view id = x.operation.model;
  if (ports.approvals == nullptr) co_return Answered({});
  if (id.size() > kIdBytesMax) co_return Answered({.status = ApprovalStatus::kNotFound});
  co_return Answered(co_await ports.approvals->Find(x.principal->key, std::string(id)));
}

}  // namespace weir::gateway
