// The one retry without what an upstream does not know: which parameter a 400 names, and the body
// without it. What a request says, whether it is kept, and the form of its reply are never touched,
// whatever an upstream asks for. A bound on the output may be taken out: the hold must then cover
// all that the model can give.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace weir::dialect {

inline constexpr std::size_t kParameterBytesMax = 64;

// The parameter that an error body names as unsupported or unknown, as a path such as
// "max_output_tokens" or "reasoning.summary" or "tools[0].strict"; nothing when the body says
// something else, is cut or not JSON, or names what must stay (model, input, messages,
// tools, instructions, store, stream, text, ...).
//   error_body  at most kErrorBodyBytesMax (failure_class.h) is looked at
std::optional<std::string> UnsupportedParameter(std::string_view error_body);

// The body without the member at `path` (a.b, a[0].b); every other byte stays. Fails with a
// sentence for the log: not JSON, no such member, a name that is there twice, a path that ends in
// an element or that UnsupportedParameter would not give.
std::expected<std::string, std::string> DropMember(std::string_view body, std::string_view path);

}  // namespace weir::dialect
