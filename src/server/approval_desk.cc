#include "server/approval_desk.h"

#include "identity/key_record.h"
#include "server/on_desk.h"

namespace weir::server {
namespace {

using gateway::ApprovalReply;
using gateway::ApprovalStatus;

ApprovalReply ReplyOf(const ApprovalResult<store::Approval>& result) {
  if (result) return {.status = ApprovalStatus::kDone, .body = ApprovalJson(*result)};
  const ApprovalFault& fault = result.error();
  switch (fault.kind) {
    case ApprovalFault::Kind::kUnavailable:
      return {.status = ApprovalStatus::kUnavailable};
    case ApprovalFault::Kind::kNotFound:
      return {.status = ApprovalStatus::kNotFound};
    default:
      return {.status = ApprovalStatus::kRefused, .param = fault.member, .message = fault.detail};
  }
}

}  // namespace

std::string RequesterOf(const identity::KeyRecord& key) { return "key:" + key.name; }

Task<ApprovalReply> ApprovalPort::Ask(gateway::ApprovalWish wish) {
  const KeyId key = wish.key->id;
  return OnDesk(desk_, post_, key, ApprovalReply{},
                [&approvals = approvals_, wish = std::move(wish)]() -> ApprovalReply {
                  return ReplyOf(approvals.Ask({.policy = wish.policy,
                                                .counter = wish.counter,
                                                .amount = wish.amount,
                                                .duration = wish.duration,
                                                .from = {},
                                                .reason = wish.reason,
                                                .requester = RequesterOf(*wish.key),
                                                .rollback_owner = {}}));
                });
}

Task<ApprovalReply> ApprovalPort::Find(std::shared_ptr<const identity::KeyRecord> key,
                                       std::string id) {
  const KeyId key_id = key->id;
  return OnDesk(desk_, post_, key_id, ApprovalReply{},
                [&store = store_, key = std::move(key), id = std::move(id)]() -> ApprovalReply {
                  const auto parsed = ParseApprovalId(id);
                  if (!parsed) return {.status = ApprovalStatus::kNotFound};
                  const auto found = store.Find(*parsed);
                  if (!found) return {.status = ApprovalStatus::kUnavailable};
                  // Those of others are not told from none.
                  if (!*found || (*found)->requester != RequesterOf(*key)) {
                    return {.status = ApprovalStatus::kNotFound};
                  }
                  return {.status = ApprovalStatus::kDone, .body = ApprovalJson(**found)};
                });
}

}  // namespace weir::server
