# Puts api/openapi.yaml into the binary, as a string literal in a file of the build directory.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/api/openapi.yaml)
file(READ ${CMAKE_SOURCE_DIR}/api/openapi.yaml openapi_yaml)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/admin/openapi.inc
     CONTENT "R\"openapi(@openapi_yaml@)openapi\"" @ONLY)
target_include_directories(weir_admin PRIVATE ${CMAKE_BINARY_DIR}/generated)
