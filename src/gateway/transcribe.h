// What is special about transcriptions: what they can use at most, and our own count where the
// upstream says nothing or not what the price needs.
#pragma once

#include <cstdint>

#include "base/usage.h"
#include "gateway/exchange.h"

namespace weir::gateway {

// Whether the reply is JSON. A transcript may be asked for as text, whose bytes are the model's
// words: nothing in them may be taken for usage.
bool IsJsonReply(const Exchange& x);

// The usage of the audio and the text beside it, by our own count.
//   REQUIRES plan.shape.audio
Usage OwnAudioCount(const Plan& plan, std::int64_t output_tokens, UsageSource source);

// Fills in what the price needs and the upstream did not give: seconds beside tokens, or tokens
// beside seconds. A charge that rests on a figure of ours is marked as estimated. Nothing for what
// is no transcription.
void CompleteAudio(const Plan& plan, std::int64_t output_tokens, Usage& usage);

}  // namespace weir::gateway
