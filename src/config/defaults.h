// The configurations that need no file.
//
// The prices in here are what public price lists said when this was written, for the standard tier
// and short contexts. They exist so that a first run shows real figures. Whoever bills by them must
// check them first: a provider changes its prices without asking.
#pragma once

#include "base/secret.h"
#include "config/config.h"

namespace weir::config {

// Neither a file nor a provider's key: the sandbox answers, under the names of real models.
Config EmbeddedDefault();

// No file, but OPENAI_API_KEY is set: OpenAI's API, the models above at their prices and every
// other name at a ceiling no listed text model is above, so that a budget holds whatever is called.
//   api_key  not empty
Config OpenAiDefault(Secret api_key);

// The ceiling, in USD per million tokens: what the dearest text model OpenAI ever listed costs.
inline constexpr PicoUsdPerUnit kCeilingInputPrice{150'000'000};
inline constexpr PicoUsdPerUnit kCeilingOutputPrice{600'000'000};

}  // namespace weir::config
