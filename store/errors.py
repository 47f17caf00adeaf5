"""What can go wrong with the store."""


class StorageError(Exception):
    """The database did not do what was asked; nothing of the transaction was kept."""


class StorageFailedError(StorageError):
    """The engine failed, not the transaction: the same one may succeed later."""


class StorageFullError(StorageFailedError):
    """The disk is full or failing."""


class NewerSchemaError(StorageError):
    """The database was written by a newer version of the program."""
