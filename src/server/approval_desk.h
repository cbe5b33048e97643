// Approvals as one worker sees them: what the owner of a key asks for runs on the thread of the
// receipt desk, because it is written to a disk before it is answered.
#pragma once

#include <string>
#include <utility>

#include "gateway/ports.h"
#include "server/approvals.h"
#include "server/receipt_desk.h"

namespace weir::server {

// Used on the worker's thread; it must not die while a call of it waits.
class ApprovalPort final : public gateway::ApprovalDesk {
 public:
  // `store`, `approvals` and `desk` outlive it.
  ApprovalPort(store::PolicyStore& store, Approvals& approvals, ReceiptDesk& desk,
               ReceiptPort::Post post)
      : store_(store), approvals_(approvals), desk_(desk), post_(std::move(post)) {}

  Task<gateway::ApprovalReply> Ask(gateway::ApprovalWish wish) override;
  Task<gateway::ApprovalReply> Find(std::shared_ptr<const identity::KeyRecord> key,
                                    std::string id) override;

 private:
  store::PolicyStore& store_;
  Approvals& approvals_;
  ReceiptDesk& desk_;
  ReceiptPort::Post post_;
};

// Who asks, in the books: "key:ci".
std::string RequesterOf(const identity::KeyRecord& key);

}  // namespace weir::server
