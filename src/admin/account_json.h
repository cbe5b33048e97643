// How accounts are written in the resources that show them.
#pragma once

#include <cstdint>

#include "admin/json_writer.h"
#include "config/config.h"

namespace weir::admin {

void WriteCapabilities(std::uint32_t capabilities, JsonWriter& json);

// What an account may be used for, as members of the object that is open: everything but its id and
// its credential.
void WriteAccountTerms(const config::Account& account, JsonWriter& json);

}  // namespace weir::admin
