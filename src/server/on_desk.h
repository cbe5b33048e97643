// How a worker asks for what needs a disk: the work runs on the desk's thread, the answer comes
// back to the worker's loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/runtime.h"
#include "base/task.h"
#include "server/receipt_desk.h"

namespace weir::server {

// Runs `make` on the desk's thread and returns its answer; `unavailable` when too many wait, or the
// gateway stops. Whatever `make` refers to outlives the desk.
//   post  runs a function on the caller's loop
template <class Answer, class Make>
Task<Answer> OnDesk(ReceiptDesk& desk, ReceiptPort::Post post, KeyId key, Answer unavailable,
                    Make make) {
  // Shared with the desk, which may answer after this coroutine is gone with its loop.
  struct Wait {
    Signal answered;
    Answer answer;
  };
  const auto wait = std::make_shared<Wait>(Wait{.answered = {}, .answer = std::move(unavailable)});
  const bool asked =
      desk.Run(key, [wait, post = std::move(post), make = std::move(make)](bool stopping) mutable {
        std::optional<Answer> answer;
        if (!stopping) answer = make();
        post([wait, answer = std::move(answer)] {
          if (answer) wait->answer = *answer;
          wait->answered.Set();
        });
      });
  if (asked) co_await wait->answered;
  co_return std::move(wait->answer);
}

}  // namespace weir::server
