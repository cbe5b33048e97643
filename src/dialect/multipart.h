// multipart/form-data (RFC 7578 over RFC 2046), read strictly from a body that is whole in memory.
//
// The body goes upstream as it came, so whatever is taken here must mean the same to the reader
// over there: what two readers could see differently is refused, not guessed. That is text before
// the first boundary or behind the last, a line that only begins like a boundary, folded or
// unreadable part headers, a name twice, a part that is itself multipart or encoded.
//
// One pass, nothing copied but names: a part is a stretch of the body. Never quadratic.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/request_shape.h"

namespace weir::dialect {

inline constexpr std::size_t kMultipartPartsMax = 64;
inline constexpr std::size_t kMultipartHeadBytesMax = 16 << 10;  // of one part
inline constexpr std::size_t kMultipartNameBytesMax = 256;

struct MultipartPart {
  std::string name;       // decoded; may have "[]" at its end, and then comes more than once
  std::string file_name;  // decoded
  bool is_file = false;   // it has a file name, be it empty
  std::string_view content_type;  // as sent, a view into the body
  Span content;                   // in the body
};

// The boundary that a content type names, or a sentence why there is none to be read. Nothing but
// multipart/form-data has one here.
std::expected<std::string, std::string> BoundaryOf(std::string_view content_type);

// Whether the media type is multipart/form-data, whatever its parameters.
bool IsMultipartForm(std::string_view content_type);

// The parts in their order, or a sentence for the caller that repeats nothing of the body.
//   boundary   as BoundaryOf gives it: 1 to 70 of the characters RFC 2046 allows
std::expected<std::vector<MultipartPart>, std::string> ReadMultipart(std::string_view boundary,
                                                                     std::string_view body);

}  // namespace weir::dialect
