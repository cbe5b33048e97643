#include "base/task.h"

namespace weir::internal {

thread_local FramePool::Lists FramePool::lists_;

}  // namespace weir::internal
