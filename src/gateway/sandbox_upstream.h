// The sandbox as an upstream: the port of ports.h answered in process from MakeSandboxReply. It
// never opens a socket, whatever the request says; what is sent to it is metered, limited and
// booked like live traffic, because the path cannot tell the difference.
//
// Used on one thread, like every Upstreams; holds no state besides its Runtime.
#pragma once

#include <memory>

#include "base/result.h"
#include "base/runtime.h"
#include "base/task.h"
#include "gateway/ports.h"

namespace weir::gateway {

class SandboxUpstreams final : public Upstreams {
 public:
  // `runtime` must outlive this and all replies.
  explicit SandboxUpstreams(Runtime& runtime) : runtime_(runtime) {}

  // The reply is made at once, whole; its Read gives a JSON body in one piece and a stream event by
  // event. Only a prompt that asks for it ("slowly") makes Read wait, and then it looks at
  // `interrupt` and at the deadline between events. Fails with kInterrupted only; a request the
  // sandbox does not know is a reply with status 404, as from a real upstream.
  Task<Result<std::unique_ptr<UpstreamReply>>> Send(UpstreamRequest request,
                                                    Interrupt& interrupt) override;

 private:
  Runtime& runtime_;
};

}  // namespace weir::gateway
