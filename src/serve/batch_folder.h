// batch_folder.h: the folder of batches: a record each, and rows and journal of the one that runs.
#ifndef FG_SERVE_BATCH_FOLDER_H
#define FG_SERVE_BATCH_FOLDER_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#include "flexgen/error.h"

void fg_batch_path(const char *folder, const char *id, const char *suffix, char out[static PATH_MAX]);
// Rows and journal; the record too, if the batch is to be forgotten.
void fg_batch_remove_files(const char *folder, const char *id, bool record);

// Makes the folder if it is not there, and reads every record. One that cannot be read is passed over.
fg_status fg_batch_folder_read(const char *folder,
                               fg_status (*take)(void *user, json_t *object, fg_error *err), void *user,
                               fg_error *err);
// Removes what a kill left of batches that are over, and of writing records.
void fg_batch_folder_clear(const char *folder, bool (*is_under_way)(void *user, const char *id), void *user);

#endif
