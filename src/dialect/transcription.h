// What the gateway must know of a request to /audio/transcriptions, read from its form: the same
// RequestShape as a JSON body gives, with the model's value as a stretch of the body, so that an
// upstream's own name can be put in its place by an edit.
#pragma once

#include <expected>
#include <string_view>

#include "dialect/request_shape.h"

namespace weir::dialect {

// REQUIRES IsMultipartForm(content_type).
//   returns   the shape, with `audio` set
//   fails     kInvalidRequest with a sentence, and the part at fault where there is one. `model`
//             and `file` must be there, and whatever we act on must be readable: a `stream` that
//             the upstream could read differently would be metered as something it is not.
//   cost      linear in the body; the model may stand behind a file of any size
std::expected<RequestShape, ShapeError> ReadTranscription(std::string_view content_type,
                                                          std::string_view body);

}  // namespace weir::dialect
