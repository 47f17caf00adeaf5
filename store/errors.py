"""What can go wrong with the store."""


class StorageError(Exception):
    """The database did not do what was asked; nothing of the transaction was kept."""


class StorageFailedError(StorageError):
    """The engine failed, not the transaction: the same one may succeed later."""


class StorageFullError(StorageFailedError):
    """The disk is full or failing."""


class NewerSchemaError(StorageError):
    """The database was written by a newer version of the program."""


class TableLockedError(StorageError):
    """Another process writes this response table already."""


class TableMissingError(StorageError):
    """There is no response table at this place, or its format is of another version."""


class DamagedExportError(StorageError):
    """What is to be imported is no whole export of a response table, or breaks a bound."""
