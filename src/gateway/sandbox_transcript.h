// The sandbox's answer to POST /audio/transcriptions. It does not listen: the text is always the
// same, spoken word by word over the length that the file's headers give, so text, times, usage and
// price are the same for the same file.
#pragma once

#include <optional>

#include "dialect/request_shape.h"
#include "gateway/sandbox_reply.h"

namespace weir::gateway {

// Fills in the reply: JSON, text, srt, vtt, verbose_json and diarized_json, or the events of a
// stream. verbose_json, and any format of a model named whisper..., has usage in seconds, all
// others in tokens; text formats have none. A body that is no form (request.content_type empty) is
// answered as JSON with its size for its length. Returns why a form is refused.
std::optional<dialect::ShapeError> MakeTranscript(const SandboxRequest& request,
                                                  SandboxReply& reply);

}  // namespace weir::gateway
