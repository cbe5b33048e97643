# Puts migrations/sqlite/<set>/NNNN_name.sql into the binary: one line `{set, version, name, sql},` each
# in generated/store/migrations.inc, which store/migrate.cc includes. In order of the file names.
file(GLOB migration_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/migrations/sqlite/*/*.sql)
list(SORT migration_files)
set(migration_list "")
foreach(file ${migration_files})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} sql)
  get_filename_component(folder ${file} DIRECTORY)
  get_filename_component(set ${folder} NAME)
  get_filename_component(name ${file} NAME_WE)
  string(REGEX MATCH "^[0-9]+" number ${name})
  string(REGEX REPLACE "^0+" "" number ${number})
  string(APPEND migration_list "{\"${set}\", ${number}, \"${name}\", R\"sql(${sql})sql\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/store/migrations.inc
     CONTENT "@migration_list@" @ONLY)
target_include_directories(weir_store PRIVATE ${CMAKE_BINARY_DIR}/generated)
